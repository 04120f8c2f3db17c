"""The tables of the benchmarks, where they are at hand; what is said where they are not."""

import numpy as np
import pytest

from nasgen.benchmarks import tables
from nasgen.data.folder import VARIABLE
from nasgen.pipeline.config import UserError


@pytest.fixture
def data(shared_data, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(shared_data))


def test_missing_folder_and_file_are_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="looked at .*nowhere.* set NASGEN_DATA"):
        tables.require(tables.NB201)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match="needs nb201.parquet; .* has none: set NASGEN_DATA"):
        tables.nb201()


def test_nb201_and_its_published_scores_are_about_the_same_networks(data):
    table, published = tables.nb201(), tables.nb201_published()
    assert len(table.architectures) == len(set(table.architectures)) == 15_625
    assert {name: round(v.max(), 2) for name, v in table.measures.items()} == {
        "cifar10": 94.37,
        "cifar100": 73.51,
        "ImageNet16-120": 47.31,
    }
    assert len(published.architectures) == 725
    assert {"params", "macs", "synflow", "nwot", "fisher", "jacob_cov"} <= set(published.scores)
    assert "jacov" not in published.scores and "val_accuracy" not in published.scores
    assert np.isnan(published.scores["jacob_cov"]).sum() == 1
    assert not any((v == -1e8).any() for v in published.scores.values())


def test_nb101_decodes_to_connected_cells(data):
    table = tables.nb101(np.array([0, 1, tables.NB101_ROWS - 1]))
    assert (0 < table.measures["cifar10"]).all() and (table.measures["cifar10"] < 1).all()
    for matrix, ops in table.architectures:
        matrix = np.array(matrix)
        assert matrix.shape == (len(ops) + 2,) * 2 and (np.triu(matrix, 1) == matrix).all()
        assert matrix[:-1].any(1).all() and matrix[:, 1:].any(0).all() and matrix.sum() <= 9
        assert set(ops) <= {0, 1, 2}
    matrix, ops = tables.decode_nb101(3, 0b111, "0")  # edges 0-1, 0-2, 1-2
    assert matrix == ((0, 1, 1), (0, 0, 1), (0, 0, 0)) and ops == (0,)


def test_transnas_micro_has_seven_tasks(data):
    table = tables.transnas_micro()
    assert len(set(table.architectures)) == 4096 and len(table.measures) == 7
    published = tables.suite_published("transnas101_micro", "class_scene")
    row = {arch: i for i, arch in enumerate(table.architectures)}
    assert all(arch in row for arch in published.architectures)


@pytest.mark.parametrize("size", [8, 32, 64])
def test_cifar10_batches_are_normalised_and_keep_their_means(data, size):
    images, labels = tables.cifar10_batch(np.random.default_rng(0), 256, size)
    full, same = tables.cifar10_batch(np.random.default_rng(0), 256)
    assert images.shape == (256, size, size, 3) and (labels == same).all()
    np.testing.assert_allclose(images.mean((1, 2)), full.mean((1, 2)), atol=1e-4)
    assert abs(full.mean()) < 0.1 and abs(full.std() - 1) < 0.1
    assert set(labels) == set(range(10))


def test_cifar10_sizes_that_do_not_fit_are_refused(data):
    with pytest.raises(ValueError, match="`size` must divide 32 or be a multiple"):
        tables.cifar10_batch(np.random.default_rng(0), 4, 24)
