"""Networks of other kinds than classification, trained and handed over as a run does it."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments.configs import default
from nasgen.data.arrays import from_arrays
from nasgen.networks import latency
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import trained
from nasgen.spaces.open import OPS, SPACE
from nasgen.types import Architecture, Cell, MacroArchitecture, Stage

ARCHITECTURE = Architecture(
    MacroArchitecture((Stage(0, 8, 2, 1),), 16), (Cell((1,), ((0, 1), (0, 2), (1, 2))),)
)


def made(kind: str):
    """Images whose brightness tells the targets."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6, 6, 2)) + rng.normal(size=(200, 1, 1, 2))
    brightness = x.mean((1, 2))
    y = brightness * [40, 0.5] + [900, 1] if kind == "regression" else (brightness > 0).astype(int)
    return from_arrays(x.astype(np.float32), y, kind=kind, name="made")


SLOW = pytest.param("multi_label", marks=pytest.mark.slow)


@pytest.mark.parametrize("kind", ["regression", SLOW])
def test_a_network_of_another_kind_is_trained_and_handed_over(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "measure_network", lambda plan, **options: 1.0)
    config, data = default.get_config(), made(kind)
    config.train.update(dict(steps=60, batch_size=32, learning_rate=0.05))
    plan, metric = make_plan(ARCHITECTURE, OPS, data.task), data.task.metric
    with jax.numpy_rank_promotion("allow"):
        stage = trained.train(config, data, plan, tmp_path, key=jax.random.key(0))
        stages = {"train": {**stage, "seconds": 3600.0}}
        found = trained.hand_over(
            config, data, ARCHITECTURE, plan, SPACE, tmp_path, stages=stages, card={}
        )
    assert stage.keys() == {f"validation_{metric}", "kept_step"}
    low, value, high = (found[f"test_{metric}{end}"] for end in ("_low", "", "_high"))
    assert low <= value <= high and (low < high or value == 1) and found["test_examples"] == 40
    assert found[f"validation_{metric}"] == stage[f"validation_{metric}"]
    assert latency.device_name() == found["latency_device"]
    card = (tmp_path / "network" / "README.md").read_text()
    assert "label_smoothing" not in card and "| learning_rate | 0.05 |" in card
    assert "40 images)" in card and "120 images to train on" in card
    # What was handed over gives numbers in the targets' units, as good as was measured.
    raw = data.test.x * data.std + data.mean
    np.save(tmp_path / "x.npy", raw)
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "network" / "predict.py"), str(tmp_path / "x.npy")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t")[1:] for line in done.stdout.splitlines()]
    if kind == "regression":
        numbers = np.array(lines, float)
        error = np.abs(numbers - data.test.y).mean()
        assert error == pytest.approx(value, rel=1e-3)
        assert value < np.abs(data.test.y - data.train.y.mean(0)).mean() / 2
    else:
        odds = np.array([[float(x.split()[1]) for x in sorted(line)] for line in lines])
        assert ((odds > 0.5) == data.test.y).mean() > 0.8 and value > 0.9
    described = json.loads((tmp_path / "network" / "preprocess.json").read_text())
    assert described["kind"] == kind
