"""The training benchmark: another program that knows the plans alone trains the same networks."""

import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.configs import bench_training
from nasgen import published
from nasgen.benchmarks import reference, training, training_parts
from nasgen.networks import costs
from nasgen.networks.ops import out_size
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import config as rules
from nasgen.pipeline.config import UserError
from nasgen.pipeline.workdir import RESULTS, close_workdir, open_workdir
from nasgen.published.handmade import BASIC, INVERTED
from nasgen.spaces.open import OPS
from nasgen.types import Architecture, Cell, MacroArchitecture, Op, Stage, Task

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).with_name("training_stand_in.py")
TORCH = os.environ.get("NASGEN_TORCH_PYTHON")
SMALL = Architecture(
    MacroArchitecture((Stage(0, 8, 1, 1), Stage(0, 16, 2, 1)), 16), (BASIC, INVERTED)
)
TASK = Task("toy", (8, 8, 3), 10)


def small_config(**overrides):
    config = bench_training.get_config()
    config.batch, config.size, config.rounds, config.steps, config.part_rounds = 4, 8, 3, 2, 2
    config.update(overrides)
    return config.lock()


@pytest.fixture
def one_small_network(monkeypatch):
    """In the place of ResNet-20 and of a generated network, of many layers."""
    monkeypatch.setattr(training, "networks_of", lambda *_: {"small": SMALL})
    monkeypatch.setattr(training, "PAUSE", 0.0)


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(training, "SCRIPT", STAND_IN)
    with_nasgen = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    monkeypatch.setattr(reference, "_environment", lambda: with_nasgen)


def run(config, folder) -> dict:
    workdir = open_workdir(folder, config)
    try:
        training.run(config, workdir)
    finally:
        close_workdir(workdir)
    return json.loads((workdir.path / RESULTS).read_text())


def test_both_sides_train_the_same_network(tmp_path, one_small_network, stand_in):
    results = run(small_config(reference_python=sys.executable), tmp_path / "run")
    for name in ("logits", "loss", "loss_after_a_step"):
        assert results[f"small/relative_difference/{name}"] <= training.AGREE
    for name in ("images_per_second", "torch_images_per_second", "ratio_vs_torch"):
        low, high = results[f"small/{name}/interval"]
        assert 0 < low <= results[f"small/{name}"] <= high
        assert len(results[f"small/{name}/all"]) == 3
    plan = make_plan(SMALL, OPS, TASK)
    assert results["small/params"] == costs.count(plan).params
    assert 0 < results["small/seconds_compile"] == results["seconds_compile"]
    times = sum(training_parts.parts_of(plan).values())
    assert results["small/parts/sum of the parts"]["PyTorch"] == pytest.approx(0.5 * times)
    page = (tmp_path / "run" / "training.md").read_text()
    assert "## small" in page and "| conv 3x3 | 3 |" in page and "the whole step" in page


def test_another_network_is_no_comparison(tmp_path, one_small_network, stand_in):
    with pytest.raises(RuntimeError, match="logits differs from PyTorch's by"):
        run(small_config(reference_python=sys.executable, part_rounds=0), tmp_path / "wrong")
    assert not (tmp_path / "wrong" / RESULTS).exists()


def test_nasgen_alone(tmp_path, one_small_network):
    results = run(small_config(part_rounds=0), tmp_path / "run")
    assert "config.reference_python" in results["skipped"]
    assert "| the whole step |" in (tmp_path / "run" / "training.md").read_text()
    assert results["small/images_per_second"] > 0
    assert not [name for name in results if "torch" in name]


def test_training_lowers_the_loss_and_starts_again():
    batch = training.noise(jax.random.key(0), TASK, 4)
    assert (batch.targets.argmax(1) == batch.labels).all() and (batch.targets.sum(1) == 1).all()
    made = training.compiled(make_plan(SMALL, OPS, TASK), jax.random.key(1), batch)
    seconds, losses = training.train(made, 20)
    assert 0 < seconds and losses[-1] < losses[0] / 2
    assert training.train(made, 2)[1] == losses[:2]
    logs = jax.nn.log_softmax(made.logits)
    assert losses[0] == pytest.approx(-float((logs * batch.targets).sum(1).mean()), rel=1e-5)


def test_parts_of_a_plan():
    """Every ReLU, map and norm of ResNet-20, at its size."""
    plan = make_plan(published.architecture_of("resnet20"), OPS, Task("c", (32, 32, 3), 10))
    parts = training_parts.parts_of(plan)
    kinds: dict[str, int] = {}
    macs = 0
    for (layer, size), times in parts.items():
        kind = training_parts.kind_of(layer)
        kinds[kind] = kinds.get(kind, 0) + times
        assert layer.relu + (layer.norm != "none") + (layer.kind != "identity") == 1
        if layer.kind == "conv":
            weights = layer.kernel**2 * layer.in_channels * layer.out_channels
            macs += times * weights * np.prod([out_size(n, layer.stride) for n in size])
    # 19 convolutions, two projections, the head; each with a norm, and one more before the head
    assert kinds == {"conv 3x3": 19, "conv 1x1": 3, "batch norm": 23, "ReLU": 21, "linear": 1}
    assert macs + 640 == costs.count(plan).macs


def test_kinds_are_summed_with_their_parts():
    plan = make_plan(SMALL, OPS, TASK)
    parts = training_parts.parts_of(plan)
    seconds = {"nasgen": [1e-3] * len(parts), "PyTorch": [3e-3] * len(parts)}
    rows = training_parts.by_kind(parts, seconds)
    assert sum(row["parts"] for row in rows.values()) == sum(parts.values())
    for row in rows.values():
        assert row["nasgen"] == pytest.approx(row["parts"])
        assert row["PyTorch"] == pytest.approx(3 * row["parts"])
    ours = [row["nasgen"] for row in rows.values()]
    assert ours == sorted(ours, reverse=True)
    assert "| 3.00 |" in training_parts.page({"toy": rows})


def test_ratios_are_of_rounds():
    rounds = {"nasgen": [1.0, 2.0, 4.0], "PyTorch": [2.0, 2.0, 2.0]}
    figures = training.speeds(0, rounds, 8)
    assert figures["ratio_vs_torch"] == 1 and figures["ratio_vs_torch/interval"] == (0.5, 2.0)
    assert figures["images_per_second"] == 4 and figures["torch_images_per_second"] == 4


def test_sides_begin_in_turns(monkeypatch):
    monkeypatch.setattr(training, "PAUSE", 0.0)
    said: list[str] = []
    sides = {name: lambda name=name: said.append(name) for name in "ab"}
    assert training.take_turns("turns", sides, 3) == {"a": [None] * 3, "b": [None] * 3}
    assert "".join(said) == "abbaab"


def test_a_python_without_pytorch_is_refused():
    with pytest.raises(UserError, match="config.reference_python.*torch==.*No such file"):
        reference.check_python("/nowhere/python", training.SCRIPT, training.INSTALL)


@pytest.mark.slow
def test_the_generated_network_keeps_its_budget():
    config = bench_training.get_config().lock()
    task = Task("benchmark", (32, 32, 3), 10)
    made = training.networks_of(config, jax.random.key(0), task)
    counted = costs.count_many(list(made.values()), OPS, task)
    assert list(made) == ["resnet20", "generated"]
    assert counted.params[1] <= config.budget.params and counted.macs[1] <= config.budget.macs


def test_the_shipped_config_is_valid():
    rules.check(bench_training.get_config().lock(), training.RULES)


@pytest.mark.skipif(TORCH is None, reason="needs NASGEN_TORCH_PYTHON: a Python with PyTorch")
def test_pytorch_itself_trains_the_same_network(tmp_path, monkeypatch):
    """Every kind of op, each where the size or the width changes, on images of an odd size."""
    kinds = sorted({op.kind for op in OPS})
    codes = [OPS.index(Op(kind, (1, 3, 5)[i // 3 + i % 3 - 2])) for i, kind in enumerate(kinds)]
    edges = ((0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4))
    cells = tuple(Cell(tuple(codes[i::3]), edges) for i in range(3))
    stages = Stage(0, 8, 2, 1), Stage(0, 16, 2, 1), Stage(0, 24, 1, 1)
    every = Architecture(MacroArchitecture(stages, 8), cells)
    monkeypatch.setattr(training, "networks_of", lambda *_: {"every": every})
    monkeypatch.setattr(training, "PAUSE", 0.0)
    config = small_config(reference_python=TORCH, size=9, batch=8, rounds=1, part_rounds=0)
    results = run(config, tmp_path / "run")
    for name in ("logits", "loss", "loss_after_a_step"):
        assert results[f"every/relative_difference/{name}"] <= training.AGREE
    assert results["every/ratio_vs_torch"] > 0 and results["torch"][0].isdigit()
