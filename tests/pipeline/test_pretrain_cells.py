"""Pretraining of the generator of cells from nothing, with small numbers, in three spaces; then its
weights at work: cells to order, neighbours, densities, and what users are told."""

import json
import re
import shutil

import jax
import numpy as np
import pytest

from experiments.configs import pretrain_cells as open_config
from experiments.configs import (
    pretrain_cells_nb101,
    pretrain_cells_nb201,
    pretrain_cells_transnas,
)
from nasgen import cells
from nasgen.arrays import flatten
from nasgen.models.mixture import Mixture
from nasgen.pipeline import cell_generator, cells_data, labels, pretrain_cells
from nasgen.pipeline.clusters import describe
from nasgen.pipeline.config import UserError
from nasgen.pipeline.workdir import close_workdir, open_workdir
from nasgen.pretrained import bundle as pretrained
from nasgen.spaces import SPACES, graphs
from nasgen.types import Cell

CONFIGS = {
    "open": open_config,
    "nb201": pretrain_cells_nb201,
    "nb101": pretrain_cells_nb101,
    "transnas_micro": pretrain_cells_transnas,
}
OPEN = SPACES["open"]


def small_config(space="open"):
    """The shipped weights' config with small numbers."""
    config = CONFIGS[space].get_config()
    config.num_cells, config.num_labelled, config.num_mixture_cells = 600, 160, 400
    config.chunk, config.num_again = 100, 6
    config.num_clusters = (2, 4)
    config.vae.steps = config.flow.steps = 12
    config.vae.model.update(width=16, depth=1, readout_width=32, decoder_width=32, step_width=16)
    config.vae.model.latent_dim = 8
    config.flow.model.update(width=16, depth=1, context_width=8)
    config.vae.batch_size = config.flow.batch_size = 16
    config.skeleton.size = config.skeleton.batch = 8
    config.skeleton.channels, config.skeleton.strides, config.skeleton.repeats = (8,), (1,), (1,)
    return config


def run(config, path):
    workdir = open_workdir(path, config)
    pretrain_cells.run(config, workdir)
    close_workdir(workdir)
    return path


_SLOW = pytest.mark.slow


@pytest.fixture(
    scope="module",
    params=["open", *(pytest.param(name, marks=_SLOW) for name in CONFIGS if name != "open")],
)
def space(request):
    return request.param


@pytest.fixture(scope="module")
def finished(space, tmp_path_factory):
    """The folder of a finished small run."""
    return run(small_config(space), tmp_path_factory.mktemp("cells") / space)


@pytest.fixture(scope="module")
def bundle(finished):
    """The bundle of that run, read from its files."""
    return pretrained.load_cells(str(finished))


def test_results_and_card(space, finished):
    results = json.loads((finished / "results.json").read_text())
    card = json.loads((finished / "cells.json").read_text())
    for name in ("exact_reconstruction", "r2/log_params", "r2/nwot", "r2_ceiling/nwot"):
        low, high = results[f"{space}/{name}/interval"]
        assert low <= results[f"{space}/{name}"] <= high
    assert -1 <= results[f"{space}/latent_condition_spearman"] <= 1
    assert results[f"{space}/neighbour_factor"] > 0
    assert results["metric/num_clusters"] in (2, 4) and len(results["metric/mixture_curve"]) == 2
    assert np.isfinite(results["flow/held_out_log_prob"]) and results["seconds_total"] > 0
    assert card["seed"] == 0 and card["config"]["num_cells"] == 600
    assert card["models"]["space"] == space and "rules" not in card["models"]["vae_config"]


def test_clusters_have_words_and_a_cell(space, finished):
    """Each cell is in one, and the shown cell is of its own cluster; the page tells of all."""
    found = cells.clusters(str(finished))
    assert sum(one.share for one in found) == pytest.approx(1)
    page = (finished / "report.md").read_text()
    for one in found:
        assert one.words in page and one.params > 0 and 0 <= one.depth <= one.ops <= 6
        assert SPACES[space].is_valid(graphs.pack([one.cell])).all()
    for name in ("mixture", "space", "clusters"):
        assert (finished / "figures" / f"{name}.png").stat().st_size > 5_000


def test_words_by_hand():
    """Two clusters of `open`: small chains of pooling, and large cells of mbconv_6 side by side."""
    pool, wide = [op.kind for op in OPEN.ops].index("avg_pool"), len(OPEN.ops) - 7
    assert OPEN.ops[wide].kind == "mbconv_6"
    chain = Cell((pool, pool), ((0, 1), (1, 2), (2, 3)))
    broad = Cell((wide, wide, wide), ((0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)))
    batch = graphs.pack([chain] * 6 + [broad] * 6)
    clusters = np.repeat([1, 0], 6)
    costs = np.repeat([[100.0, 1e4], [9_000.0, 1e6]], 6, 0) + np.arange(12)[:, None]
    means = np.array([[1.0], [-1.0]])
    conditions = np.where(clusters == 0, 1.0, -1.0)[:, None]
    mixture = Mixture(np.array([0.5, 0.5]), means, np.ones((2, 1, 1)))
    large, small = describe(OPEN, batch, conditions, costs, clusters, mixture)
    assert (large.number, large.share, large.ops, large.depth) == (0, 0.5, 3.0, 1.0)
    assert large.typical == ("mbconv_6",) and small.typical == ("avg_pool",)
    assert small.words == "small: 2 ops, 2 deep; much avg_pool"
    assert large.cell == broad and small.cell == chain


def test_a_second_score_draws_other_weights_and_images(finished):
    """Or the ceiling of the regressor would be one."""
    results = json.loads((finished / "results.json").read_text())
    ceilings = [results[name] for name in results if re.search("r2_ceiling/[a-z_]+$", name)]
    assert len(ceilings) == 2 and max(ceilings) < 1


def test_a_finished_run_is_skipped_and_a_damaged_chunk_redone(space, finished, tmp_path, capsys):
    path = tmp_path / "copy"
    shutil.copytree(finished, path)
    (path / "results.json").unlink()
    (path / "labels_001.npz").write_bytes(b"damaged")
    run(small_config(space), path)
    said = capsys.readouterr().err
    assert "labels_000: done before" in said and "labels_001: done in" in said
    before, after = (pretrained.load_cells(str(p)) for p in (finished, path))
    for part in ("vae", "flow", "mixture"):
        first, second = flatten(getattr(before, part)), flatten(getattr(after, part))
        assert all((first[name] == second[name]).all() for name in first)


def test_written_cells_are_valid_and_pure_in_the_key(space, bundle):
    wanted = np.zeros((40, 4), np.float32)
    for mask in (None, np.zeros(wanted.shape, bool)):
        for candidates in (1, 4):
            key, options = jax.random.key(0), dict(candidates=candidates)
            batch = cell_generator.write_cells(bundle, key, wanted, mask, **options)
            assert len(batch.nodes) == 40 and SPACES[space].is_valid(batch).all()
            again = cell_generator.write_cells(bundle, key, wanted, mask, **options)
            assert all(np.array_equal(a, b) for a, b in zip(batch, again, strict=True))


def test_the_best_of_several_misses_by_less(bundle):
    rng = np.random.default_rng(0)
    wanted = rng.standard_normal((60, 4)).astype(np.float32)
    mask = np.ones(wanted.shape, bool)
    misses = [
        cell_generator.misses(
            bundle,
            cell_generator.write_cells(bundle, jax.random.key(1), wanted, candidates=candidates),
            wanted,
            mask,
        ).mean()
        for candidates in (1, 8)
    ]
    assert misses[1] < misses[0]


def test_conditions_are_exact_counts_and_regressed_scores(space, bundle):
    own = SPACES[space]
    batch = cell_generator.in_order(own, own.sample(jax.random.key(3), 20))
    found = cell_generator.conditions_of(bundle, batch)
    skeleton = cell_generator.skeleton_of(bundle)
    costs = labels.cost_conditions(graphs.unpack(batch), own, skeleton)
    np.testing.assert_allclose(bundle.conditions.undo(found)[:, :2], costs, rtol=1e-6)
    predicted = cell_generator.predicted_conditions(bundle, batch)
    np.testing.assert_array_equal(found[:, 2:], predicted[:, 2:])


def test_neighbours_go_farther_the_higher_the_temperature(space, finished, bundle):
    own = SPACES[space]
    batch = cell_generator.in_order(own, own.sample(jax.random.key(3), 64))
    latents = cell_generator.encode_all(bundle.vae, bundle.vae_config, *batch)
    conditions = cell_generator.conditions_of(bundle, batch).astype(np.float32)
    moved = []
    for temperature in (0.0, 0.3, 1.0):
        near = cell_generator.neighbour_latents(
            bundle, jax.random.key(0), batch, conditions, temperature=temperature
        )
        moved.append(np.linalg.norm(near - bundle.latents.apply(latents), axis=1).mean())
    assert moved[0] < 0.05 * moved[2] and moved[0] < moved[1] < moved[2]
    listed = cells.neighbours(jax.random.key(0), graphs.unpack(batch)[:4], space=str(finished))
    assert own.is_valid(graphs.pack(listed)).all()
    with pytest.raises(ValueError, match=r"`temperature` must be in 0..1; got 2"):
        cells.neighbours(jax.random.key(0), listed, space=str(finished), temperature=2)


def test_a_line_between_two_cells_starts_and_ends_with_them_and_is_walked_in_steps():
    first, *_, last = cells.generate(jax.random.key(1), 8)
    line = cells.interpolate(first, last, 9)
    own = SPACES["open"]
    assert len(line) == 9 and own.is_valid(graphs.pack(line)).all()
    ends = [graphs.canonical_key(one) for one in (line[0], line[-1])]
    assert ends == [graphs.canonical_key(one) for one in (first, last)]
    counted = labels.cost_conditions(line, own, cell_generator.skeleton_of(cells.load("open")))
    low, high = np.sort(counted[[0, -1]], axis=0)
    assert (counted > low - 0.5).all() and (counted < high + 0.5).all()  # logarithms
    with pytest.raises(ValueError, match="`num` must be at least 2; got 1"):
        cells.interpolate(first, last, 1)


def test_densities(space, finished, bundle):
    """Pure, the same for cells whose nodes are in another order, in nats or bits."""
    own, name = SPACES[space], str(finished)
    some = graphs.unpack(own.sample(jax.random.key(5), 6))
    nats = cells.log_prob(some, {"params": 9_000.0}, space=name)
    assert nats.shape == (6,) and np.isfinite(nats).all()
    bits = cells.log_prob(some, {"params": 9_000.0}, space=name, bits=True)
    np.testing.assert_allclose(bits * np.log(2) * 8, nats, rtol=1e-6)
    assert not np.allclose(nats, cells.log_prob(some, space=name))
    if own.rules.wiring is None:
        rng = np.random.default_rng(0)
        other = graphs.unpack(graphs.random_order(rng, graphs.pack(some)))
        again = cells.log_prob(other, {"params": 9_000.0}, space=name)
        np.testing.assert_allclose(again, nats, rtol=1e-3, atol=1e-3)


def test_users_conditions(space, finished):
    name, key = str(finished), jax.random.key(0)
    for condition in (None, {"params": 5e4, "macs": 1e6}, {"nwot": 90.0}, {"cluster": 1}):
        made = cells.generate(key, 5, condition, space=name, candidates=2)
        assert len(made) == 5 and SPACES[space].is_valid(graphs.pack(made)).all()
    found = cells.condition(key, made[:2], space=name)
    assert set(found) == {"params", "macs", "snip_snr", "nwot"} and (found["params"] > 0).all()
    bad = {
        "`condition` must name some of params, macs, snip_snr, nwot, or cluster; got 'param'": {
            "param": 5
        },
        "`params` must be finite and above zero": {"params": -1},
        "`cluster` must stand alone, in 0..": {"cluster": 99},
    }
    for message, condition in bad.items():
        with pytest.raises(ValueError, match=message):
            cells.generate(key, 2, condition, space=name)
    with pytest.raises(ValueError, match="`cells` must be of space"):
        cells.log_prob([Cell((99,), ((0, 1), (0, 2), (1, 2)))], space=name)


def test_conditions_of_cells():
    """Costs are those of the skeleton network, scores pure in the key."""
    skeleton = labels.Skeleton(channels=(8, 16), strides=(1, 2), final_width=16, size=8, batch=8)
    some = graphs.unpack(OPEN.sample(jax.random.key(0), 4))
    costs = labels.cost_conditions(some, OPEN, skeleton)
    assert costs.shape == (4, 2) and (costs[:, 1] > costs[:, 0]).all()
    scores = labels.score_conditions(jax.random.key(1), some, OPEN, skeleton)
    again = labels.score_conditions(jax.random.key(1), some[1:2], OPEN, skeleton)
    np.testing.assert_array_equal(scores[1:2], again)
    assert np.isfinite(scores).all()


def test_a_singular_kernel_is_no_condition(monkeypatch):
    """Where two images are alike log det K has no value, and its 0 would be far from all others."""

    def alike(key, num, task):
        labels = np.arange(num, dtype=np.int32) % task.num_classes
        return np.ones((num, *task.input_shape), np.float32), labels

    monkeypatch.setattr(labels, "natural_batch", alike)
    skeleton = labels.Skeleton(channels=(4,), strides=(1,), size=8, batch=4)
    some = graphs.unpack(SPACES["nb201"].sample(jax.random.key(0), 2))
    scores = labels.score_conditions(jax.random.key(1), some, SPACES["nb201"], skeleton)
    assert np.isnan(scores[:, 1]).all()


def test_what_is_unseen_of_each_size():
    """Of `open` all cells of one op are soon seen, hardly any of four."""
    batch, _ = cells_data.distinct_cells(OPEN, jax.random.key(0), 20_000)
    unseen = cells_data.unseen_by_size(batch, OPEN.sample(jax.random.key(1), 3_000))
    assert unseen[0] == 1 and unseen[1] < 0.2 < unseen[2] < 0.9 < unseen[4]
    assert (cells_data.unseen_by_size(batch, batch)[1:] == 0).all()


def test_distinct_cells_are_distinct_and_a_small_space_runs_out():
    batch, share = cells_data.distinct_cells(SPACES["nb201"], jax.random.key(0), 3000)
    assert len(set(graphs.canonical_keys(batch))) == 3000 and 0.8 < share < 0.98
    with pytest.raises(ValueError, match="`num_cells` must be at most"):
        cells_data.distinct_cells(SPACES["nb201"], jax.random.key(0), 15_626)


@pytest.mark.slow
def test_conditions_that_a_user_measured(tmp_path):
    """Those of some cells join the four; the file's cells are among the training's."""
    own = SPACES["nb201"]
    some = graphs.unpack(own.sample(jax.random.key(8), 80))
    accuracy = np.array([10.0 * one.ops.count(3) for one in some])
    accuracy[::9] = np.nan
    file = tmp_path / "mine.npz"
    cells.save_measurements(file, some, {"accuracy": accuracy})
    config = small_config("nb201")
    config.measured = str(file)
    folder = run(config, tmp_path / "run")
    file.unlink()  # the run needs it no more
    made = cells.generate(
        jax.random.key(0), 6, {"accuracy": 30.0, "params": 5e4}, space=str(folder)
    )
    assert own.is_valid(graphs.pack(made)).all()
    assert pretrained.load_cells(str(folder)).names == (*labels.CONDITIONS, "accuracy")
    assert set(cells.condition(jax.random.key(0), made[:1], space=str(folder))) == {
        "params", "macs", "snip_snr", "nwot"
    }  # fmt: skip
    data = cells_data.load_dataset(config, folder)
    keys = graphs.canonical_keys(data.cells)
    known = {key: value for key, value in zip(keys, data.conditions[:, 4], strict=True)}
    for one, value in zip(graphs.canonical_keys(graphs.pack(some)), accuracy, strict=True):
        assert one in known and (np.isnan(known[one]) or np.isnan(value) or known[one] == value)
    assert np.isfinite(data.conditions[data.labelled, 2:]).any(1).all()


def test_bad_measurements_are_one_line(tmp_path):
    some = graphs.unpack(OPEN.sample(jax.random.key(8), 5))
    for name in ("params", "nodes", "two words"):
        with pytest.raises(ValueError, match="`values` must have names like `accuracy`"):
            cells.save_measurements(tmp_path / "x.npz", some, {name: np.arange(5.0)})
    with pytest.raises(ValueError, match="a number for each of the 5 cells; accuracy has"):
        cells.save_measurements(tmp_path / "x.npz", some, {"accuracy": np.arange(4.0)})
    files = {name: tmp_path / f"{name}.npz" for name in ("flat", "other", "broken", "missing")}
    cells.save_measurements(files["flat"], some, {"accuracy": np.ones(5)})
    cells.save_measurements(files["other"], some, {"accuracy": np.arange(5.0)})
    files["broken"].write_bytes(b"no zip")
    messages = {
        "flat": "accuracy of .* says nothing",
        "other": "`config.measured` must hold cells of nb201; number 0",
        "broken": "must be a file by `nasgen.cells.save_measurements`",
        "missing": "which is not a file",
    }
    for name, message in messages.items():
        config = small_config("nb201")
        config.measured = str(files[name])
        workdir = open_workdir(tmp_path / f"run_{name}", config)
        with pytest.raises(UserError, match=message):
            pretrain_cells.run(config, workdir)
        close_workdir(workdir)


def test_bad_configs_are_user_errors(tmp_path):
    changes = {"num_labelled": 700}, {"space": "opne"}, {"num_clusters": (0,)}
    for change in (*changes, {"skeleton.repeats": (1, 1)}):
        config = small_config()
        config.update_from_flattened_dict(change)
        workdir = open_workdir(tmp_path / str(change), config)
        with pytest.raises(UserError):
            pretrain_cells.run(config, workdir)
        close_workdir(workdir)
