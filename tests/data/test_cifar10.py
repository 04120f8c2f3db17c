"""CIFAR-10: the official split, stratified validation, the same images in both files."""

import numpy as np
import pytest

from nasgen.data import load
from nasgen.data.folder import VARIABLE


@pytest.fixture(scope="module")
def lossless(shared_data):
    return load("cifar10_lossless")


@pytest.mark.slow
def test_the_packed_set_has_the_official_split(shared_data, lossless):
    data = load("cifar10", seed=1)
    sizes = [len(split.y) for split in (data.train, data.validation, data.test)]
    assert sizes == [45_000, 5_000, 10_000]
    for split in (data.train, data.validation, data.test):
        assert (np.bincount(split.y) == len(split.y) // 10).all()
        assert split.x.dtype == np.float32 and split.y.dtype == np.int32
    assert abs(data.train.x[:2000].mean()) < 0.1
    # The lossy and the exact images are the same pictures: as near as JPEG leaves them.
    exact = np.concatenate([split.x for split in lossless[1:4]]) * lossless.std + lossless.mean
    first = data.validation.x[0] * data.std + data.mean
    errors = np.abs(exact - first[None]).mean((1, 2, 3))
    labels = np.concatenate([split.y for split in lossless[1:4]])
    assert errors.min() < 12 and np.sort(errors)[1] > 20
    assert labels[errors.argmin()] == data.validation.y[0]


def test_the_exact_images(lossless):
    assert [len(split.y) for split in lossless[1:4]] == [2400, 800, 800]
    raw = lossless.train.x * lossless.std + lossless.mean
    assert np.allclose(raw, raw.round(), atol=1e-3) and 0 <= raw.min() and raw.max() <= 255.01
    assert lossless.task.input_shape == (32, 32, 3) and lossless.task.num_classes == 10


def test_a_missing_file_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match="needs cifar10_jpeg_packed.npz; .* set NASGEN_DATA"):
        load("cifar10")
