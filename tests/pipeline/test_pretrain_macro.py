"""Pretraining of both levels from nothing, with small numbers: every stage is the real one. Then
the weights at work: save and load, damage, generation."""

import json
import shutil

import jax
import numpy as np
import pytest

from experiments.configs import pretrain_macro as config_file
from nasgen.arrays import flatten
from nasgen.models.accuracy import PREDICTED_ACCURACY, steps_seen
from nasgen.models.macro_language import WORDS
from nasgen.networks import costs
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import (
    generators,
    macro_networks,
    macro_quality,
    pretrain_cells,
    pretrain_macro,
)
from nasgen.pipeline.config import UserError
from nasgen.pipeline.fitness import expected_accuracy
from nasgen.pipeline.problems import identity
from nasgen.pipeline.request import smallest_networks
from nasgen.pipeline.workdir import close_workdir, open_workdir
from nasgen.pretrained import bundle as pretrained
from nasgen.pretrained import read_card, sealed
from nasgen.search.problem import BudgetError
from nasgen.spaces import SPACES, graphs
from nasgen.spaces.macro import broken_rules
from nasgen.types import Budget, Task
from tests.pipeline.test_pretrain_cells import small_config as small_cells

OPEN = SPACES["open"]


def small_config(cells):
    """The shipped weights' config with small numbers."""
    config = config_file.get_config()
    config.cells = str(cells)
    config.num_cells, config.num_asked = 300, 12
    config.macro.steps = 12
    config.macro.model.update(width=16, depth=1, heads=2)
    config.networks.num, config.networks.num_scored = 60, 24
    config.networks.sizes, config.networks.classes = (8, 64), (2, 20)
    config.networks.params, config.networks.macs = (10_000, 60_000), (100_000, 3_000_000)
    config.networks.scored_sizes, config.networks.scored_classes = (8,), (10,)
    config.macro.batch_size = 16
    return config


def run(pipeline, config, path):
    workdir = open_workdir(path, config)
    pipeline.run(config, workdir)
    close_workdir(workdir)
    return path


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The folder of a finished small run of the first level."""
    path = tmp_path_factory.mktemp("pretrain") / "cells"
    return run(pretrain_cells, small_cells(), path)


@pytest.fixture(scope="module")
def finished(cells, tmp_path_factory):
    """The folder of a finished small run of the second level on top."""
    return run(pretrain_macro, small_config(cells), tmp_path_factory.mktemp("pretrain") / "macro")


@pytest.fixture(scope="module")
def bundle(finished):
    """The bundle of that run, read from its files."""
    return pretrained.load_bundle(str(finished))


def test_results_and_card(finished):
    results = json.loads((finished / "results.json").read_text())
    card = json.loads((finished / "macro.json").read_text())
    assert results["networks/num_scored"] == 24 and results["seconds_total"] > 0
    for word in ("quality", "accuracy"):
        name = f"asked/{word}/share_better"
        assert 0 <= results[f"{name}_low"] <= results[name] <= results[f"{name}_high"] <= 1
    assert card["seed"] == 0 and card["config"]["networks"]["num"] == 60
    assert card["cells_sha256"] == pretrained.weights_hash(str(finished))


def test_a_finished_run_is_skipped_and_a_damaged_stage_redone(
    cells, finished, tmp_path, monkeypatch
):
    path = tmp_path / "copy"
    shutil.copytree(finished, path)
    ran = []
    stages = pretrain_macro.stages

    def watched(config, folder):
        return [
            stage._replace(run=lambda s=stage: ran.append(s.name) or s.run())
            for stage in stages(config, folder)
        ]

    monkeypatch.setattr(pretrain_macro, "stages", watched)
    (path / "results.json").unlink()
    run(pretrain_macro, small_config(cells), path)
    assert not ran
    (path / "results.json").unlink()
    (path / "macro.npz").write_bytes(b"damaged")
    run(pretrain_macro, small_config(cells), path)
    assert ran == ["macro", "asked"]  # which reads it
    before, after = (
        pretrained.load_bundle(str(p)) for p in (finished, path)
    )  # the training resumed at its end: the same weights again
    for name, array in flatten(before.macro).items():
        np.testing.assert_array_equal(array, flatten(after.macro)[name])


def test_bundle_survives_its_files(finished, bundle, tmp_path):
    card = json.loads((finished / "macro.json").read_text())
    for suffix in ("safetensors", "json"):
        shutil.copy(finished / f"cells.{suffix}", tmp_path)
    pretrained.save_macro(tmp_path / "macro", bundle, card)
    again = pretrained.load_bundle(str(tmp_path))
    assert again.macro_config == bundle.macro_config and again.words == bundle.words
    assert again.cells.vae_config == bundle.cells.vae_config
    for part in ("macro", "surrogate"):
        first, second = flatten(getattr(bundle, part)), flatten(getattr(again, part))
        assert first.keys() == second.keys()
        assert all((first[name] == second[name]).all() for name in first)


def test_a_macro_level_of_other_cells_is_refused(finished, tmp_path):
    for part in ("cells", "macro"):
        for suffix in ("safetensors", "json"):
            shutil.copy(finished / f"{part}.{suffix}", tmp_path)
    card = read_card(str(tmp_path), "macro")
    (tmp_path / "macro.json").write_text(json.dumps(sealed({**card, "cells_sha256": "0"})))
    with pytest.raises(ValueError, match="trained on other cells"):
        pretrained.load_bundle(str(tmp_path))


@pytest.mark.parametrize("damage", ["flip", "truncate", "card", "missing"])
def test_damaged_weights_are_one_line(finished, tmp_path, damage):
    for part in ("cells", "macro"):
        for suffix in ("safetensors", "json"):
            shutil.copy(finished / f"{part}.{suffix}", tmp_path)
    weights = tmp_path / "macro.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif damage == "truncate":
        weights.write_bytes(content[:1000])
    elif damage == "card":
        (tmp_path / "macro.json").write_text("{}")
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


def test_words_are_those_of_the_training(bundle):
    said = {word for word, known in zip(WORDS, bundle.words, strict=True) if known}
    assert said == {"params", "macs", "activation_memory", "quality", "accuracy", "steps"}
    task, key = Task("toy", (8, 8, 1), 10), jax.random.key(3)
    plain = generators.write_macros(bundle, key, [task] * 8, [Budget(params=50_000)] * 8)
    budget = Budget(params=50_000, latency_ms=1.0)
    task = task._replace(kind="dense")
    with_more = generators.write_macros(bundle, key, [task] * 8, [budget] * 8)
    np.testing.assert_array_equal(plain.macros.channels, with_more.macros.channels)


def test_accuracy_is_asked_of_weights_that_have_learned_of_it(bundle):
    most = generators.ranker_of(bundle, PREDICTED_ACCURACY, 10**6).wishes[0].steps
    assert most == pytest.approx(steps_seen(bundle.accuracy.unscored)[1]) and most < 10**6
    asked = generators.ranker_of(bundle, PREDICTED_ACCURACY, 500).wishes
    assert all(one.accuracy > 0 and one.steps == 500 and one.quality is None for one in asked)
    words = tuple(
        known and word != "accuracy" for word, known in zip(WORDS, bundle.words, strict=True)
    )
    others = generators.ranker_of(bundle._replace(words=words), PREDICTED_ACCURACY, 500).wishes
    assert {one.accuracy for one in others} == {None} and len(set(others)) == len(others)
    assert all(one.quality > 0 for one in generators.ranker_of(bundle, "t_cet", 500).wishes)


def test_the_accuracy_of_the_context_is_above_that_of_equal_costs_and_steps(finished, bundle):
    """No costs, task or steps say it; and it orders networks as the predictor does."""
    networks = macro_networks.load(finished / "drawn.npz")
    vectors, rows = macro_quality.described(networks, macro_networks.load_pool(finished))
    rng = np.random.default_rng(0)
    found = macro_quality.trained(bundle.accuracy.unscored, rows, rng)
    assert 25 <= found.steps.min() < found.steps.max() <= 1_000.5
    one = expected_accuracy(bundle.accuracy.unscored, rows[:1], found.steps[0])
    np.testing.assert_allclose(found.scores[0], one[0])
    above = macro_quality.standing(found.scores, vectors, found.steps)
    for column in (vectors[:, macro_quality.PARAMS], np.log(found.steps)):
        assert abs(np.corrcoef(above, column)[0, 1]) < 0.1
    assert abs(above.mean()) < 0.1 and above.std() == pytest.approx(1, abs=0.1)


def random_requests(seed, num):
    """Tasks and budgets of all kinds, some of which nothing can meet."""
    rng = np.random.default_rng(seed)
    tasks, budgets = [], []
    for _ in range(num):
        size, classes = int(rng.integers(2, 65)), int(rng.integers(2, 300))
        tasks.append(Task("any", (size, int(rng.integers(2, 65)), 3), classes))
        bounds = [int(n) for n in 10 ** rng.uniform([3.3, 5, 4.5], [6, 8, 7])]
        given = rng.random(3) < 0.5
        budgets.append(Budget(*(b if g else None for b, g in zip(bounds, given, strict=True))))
    return tasks, budgets


def test_many_requests_of_different_tasks_are_never_over_budget(bundle):
    tasks, budgets = random_requests(0, 60)
    found, used = generators.design_each(bundle, jax.random.key(0), tasks, budgets, attempts=2)
    assert 30 < sum(one is not None for one in found) < 60
    enough = 0
    for one, task, budget, share in zip(found, tasks, budgets, used, strict=True):
        if one is None:
            continue
        counted = costs.count(make_plan(one, OPEN.ops, task))
        given = {name: bound for name, bound in budget.counted.items() if bound is not None}
        parts = [getattr(counted, name) / bound for name, bound in given.items()]
        assert share == max(parts, default=0) <= 1
        enough += share >= 0.9 or not given
    assert enough > 0.8 * sum(one is not None for one in found)


def test_macros_do_not_depend_on_how_many_are_asked_for(bundle):
    tasks, budgets = random_requests(1, 12)
    written = generators.write_macros(bundle, jax.random.key(1), tasks, budgets)
    few = generators.write_macros(bundle, jax.random.key(1), tasks[:7], budgets[:7])
    for whole, part in zip(written.macros, few.macros, strict=True):
        np.testing.assert_array_equal(whole[:7], part)


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (Budget(params=100), "`budget.params` must be at least"),
        (Budget(macs=100, params=10**6), "`budget.macs` must be at least"),
    ],
)
def test_a_budget_that_nothing_meets_names_the_least(bundle, budget, says):
    task = Task("toy", (32, 32, 3), 10)
    with pytest.raises(BudgetError, match=says) as error:
        generators.design(bundle, jax.random.key(0), task, budget, 4)
    assert "\n" not in str(error.value) and "smallest network for toy" in str(error.value)


def test_bounds_that_are_too_tight_together_name_what_would_do(bundle):
    task = Task("toy", (32, 32, 3), 10)
    least = costs.count_many(list(smallest_networks(OPEN, task)), OPEN.ops, task)
    budget = Budget(params=int(least.params.min()), macs=int(least.macs.min()))
    with pytest.raises(BudgetError, match="not together") as error:
        generators.design(bundle, jax.random.key(0), task, budget, 4)
    needed = int(str(error.value).split("at least ")[1].rstrip(".").replace(",", ""))
    generators.refuse_impossible(budget._replace(params=needed), task)
    with pytest.raises(BudgetError):
        generators.refuse_impossible(budget._replace(params=needed - 1), task)


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


def test_bad_configs_are_user_errors(cells, tmp_path):
    for change in ({"num_cells": 7}, {"cells": "opne"}, {"networks.sizes": (32, 8)}):
        config = small_config(cells)
        config.update_from_flattened_dict(change)
        workdir = open_workdir(tmp_path / str(change), config)
        with pytest.raises(UserError):
            pretrain_macro.run(config, workdir)
        close_workdir(workdir)
