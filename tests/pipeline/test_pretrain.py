"""Pretraining from nothing, with small numbers: every stage is the real one. Then its weights at
work: save and load, damage, generation, conditions."""

import json
import shutil

import jax
import numpy as np
import pytest

from experiments.configs import pretrain as config_file
from nasgen.arrays import flatten
from nasgen.pipeline import generators, labels, pretrain
from nasgen.pipeline.config import UserError
from nasgen.pipeline.design import identity
from nasgen.pipeline.workdir import close_workdir, open_workdir
from nasgen.pretrained import bundle as pretrained
from nasgen.spaces import SPACES, graphs
from nasgen.spaces.macro import broken_rules
from nasgen.types import Budget, Task

OPEN = SPACES["open"]


def small_config():
    """The shipped weights' config with small numbers."""
    config = config_file.get_config()
    config.num_cells, config.num_labelled, config.num_mixture_cells = 600, 40, 400
    config.num_clusters = 4
    config.vae.steps = config.flow.steps = config.macro.steps = 12
    config.vae.model.update(width=16, depth=1, readout_width=32, decoder_width=32, step_width=16)
    config.vae.model.latent_dim = 8
    config.flow.model.update(width=16, depth=1, context_width=8)
    config.macro.model.update(width=16, depth=1, heads=2)
    config.networks.num, config.networks.num_scored = 60, 24
    config.networks.sizes, config.networks.classes = (8,), (10,)
    config.networks.max_channels, config.networks.max_layers = 32, 40
    config.vae.batch_size = config.flow.batch_size = config.macro.batch_size = 16
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished small run."""
    path = tmp_path_factory.mktemp("pretrain") / "run"
    workdir = open_workdir(path, small_config())
    pretrain.run(small_config(), workdir)
    close_workdir(workdir)
    return path


@pytest.fixture(scope="module")
def bundle(finished):
    """The bundle of that run, read from its files."""
    return pretrained.load_bundle(str(finished))


def test_results_and_card(finished):
    results = json.loads((finished / "results.json").read_text())
    card = json.loads((finished / "weights.json").read_text())
    assert results["labels/num_labelled"] == 40
    assert results["networks/num_scored"] == 24
    assert results["seconds_total"] > 0
    assert np.isfinite(results["flow/held_out_log_prob"])
    assert card["seed"] == 0 and card["figures"]["vae/exact_reconstruction"] >= 0
    assert card["config"]["num_cells"] == 600


def test_a_finished_run_is_skipped_and_a_damaged_stage_redone(finished, tmp_path, monkeypatch):
    path = tmp_path / "copy"
    shutil.copytree(finished, path)
    ran = []
    watched = {
        name: (lambda c, f, n=name, fn=function: ran.append(n) or fn(c, f), files)
        for name, (function, files) in pretrain.STAGES.items()
    }
    monkeypatch.setattr(pretrain, "STAGES", watched)
    (path / "results.json").unlink()
    workdir = open_workdir(path, small_config())
    pretrain.run(small_config(), workdir)
    assert not ran
    (path / "macro.npz").write_bytes(b"damaged")
    pretrain.run(small_config(), workdir)
    close_workdir(workdir)
    assert ran == ["macro"]
    before, after = (
        pretrained.load_bundle(str(p)) for p in (finished, path)
    )  # the training resumed at its end: the same weights again
    for name, array in flatten(before.macro).items():
        np.testing.assert_array_equal(array, flatten(after.macro)[name])


def test_bundle_survives_its_files(finished, bundle, tmp_path):
    card = json.loads((finished / "weights.json").read_text())
    pretrained.save_bundle(tmp_path, "weights", bundle, card)
    again = pretrained.load_bundle(str(tmp_path))
    assert again.vae_config == bundle.vae_config and again.macro_config == bundle.macro_config
    for part in ("vae", "flow", "macro", "mixture", "surrogate", "conditions", "latents"):
        first, second = flatten(getattr(bundle, part)), flatten(getattr(again, part))
        assert first.keys() == second.keys()
        assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize("damage", ["flip", "truncate", "card", "missing"])
def test_damaged_weights_are_one_line(finished, tmp_path, damage):
    for suffix in ("safetensors", "json"):
        shutil.copy(finished / f"weights.{suffix}", tmp_path)
    weights = tmp_path / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif damage == "truncate":
        weights.write_bytes(content[:1000])
    elif damage == "card":
        (tmp_path / "weights.json").write_text("{}")
    else:
        weights.unlink()
    with pytest.raises(ValueError) as error:
        pretrained.load_bundle(str(tmp_path))
    assert "\n" not in str(error.value)
    assert ("pretrained" in str(error.value)) == (damage == "missing")


def test_written_architectures_keep_every_rule(bundle):
    """Whatever the weights: valid cells, legal stages, different networks, the same for a key."""
    task, budget = Task("toy", (8, 8, 1), 10), Budget(params=60_000, macs=3_000_000)
    made = generators.design(bundle, jax.random.key(0), task, budget, 24, cells_per_macro=2)
    assert len(made) == 48
    cells = [cell for one in made for cell in one.cells]
    assert OPEN.is_valid(graphs.pack(cells)).all()
    for one in made:
        assert len(one.cells) == len(one.macro.stages)
        assert not broken_rules(one.macro, num_clusters=4, size=8)
    assert len({identity(one) for one in made}) > 40
    again = generators.design(bundle, jax.random.key(0), task, budget, 24, cells_per_macro=2)
    assert again == made


def test_variations_change_one_thing(bundle):
    task = Task("toy", (8, 8, 1), 10)
    parents = generators.design(bundle, jax.random.key(0), task, Budget(), 16)
    children = generators.vary(bundle, jax.random.key(1), parents, task)
    same_macro = 0
    for parent, child in zip(parents, children, strict=True):
        assert len(child.cells) == len(child.macro.stages)
        assert not broken_rules(child.macro, num_clusters=4, size=8)
        if child.macro == parent.macro:
            same_macro += 1
            changed = sum(a != b for a, b in zip(parent.cells, child.cells, strict=True))
            assert changed <= 1
        else:
            assert set(child.cells) & set(parent.cells) or len(parent.cells) == 1
    assert 2 < same_macro < 14
    assert OPEN.is_valid(graphs.pack([c for one in children for c in one.cells])).all()


def test_conditions_of_cells(bundle):
    """Costs are those of the skeleton network, scores pure in the key."""
    skeleton = labels.Skeleton(channels=(8, 16), strides=(1, 2), final_width=16, size=8, batch=8)
    cells = graphs.unpack(OPEN.sample(jax.random.key(0), 4))
    costs = labels.cost_conditions(cells, OPEN, skeleton)
    assert costs.shape == (4, 2) and (costs[:, 1] > costs[:, 0]).all()
    scores = labels.score_conditions(jax.random.key(1), cells, OPEN, skeleton)
    again = labels.score_conditions(jax.random.key(1), cells[1:2], OPEN, skeleton)
    np.testing.assert_array_equal(scores[1:2], again)
    assert np.isfinite(scores).all()


def test_bad_configs_are_user_errors(tmp_path):
    for change in ({"num_labelled": 700}, {"space": "opne"}, {"num_clusters": 0}):
        config = small_config()
        config.update(change)
        workdir = open_workdir(tmp_path / str(change), config)
        with pytest.raises(UserError):
            pretrain.run(config, workdir)
        close_workdir(workdir)
