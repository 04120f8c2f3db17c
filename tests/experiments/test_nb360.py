"""The configs of NAS-Bench-360: each fits its task, and those of images lead to a network."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import run
from nasgen import data
from nasgen.data.folder import VARIABLE
from nasgen.data.nb360 import NB360
from nasgen.pipeline import config as rules
from nasgen.pipeline.config import UserError
from nasgen.pipeline.request import check_budget
from nasgen.pipeline.task_data import recipe_of
from nasgen.spaces import SPACES
from nasgen.training.supervised import check_trainable
from nasgen.types import Budget
from tests.data.nb360_files import WRITERS

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ("cifar100", "spherical", "ninapro")


def config_of(name):
    return rules.load_config(str(ROOT / f"experiments/configs/nb360_{name}.py"))


def test_each_task_has_a_config():
    files = (ROOT / "experiments/configs").glob("nb360_*.py")
    assert sorted(file.stem.removeprefix("nb360_") for file in files) == sorted(NB360)


@pytest.mark.parametrize("name", NB360)
def test_the_config_fits_its_task(name, tmp_path, monkeypatch):
    """It is valid where the files are there, has a budget that small networks keep, and a recipe
    that the task can be trained with."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    config, task = config_of(name), NB360[name].TASK
    assert (config.task.name, config.task.dataset) == ("nb360", name)
    with pytest.raises(UserError, match=f"`config.task.dataset` {name} needs .* looked at"):
        rules.validate(config, pipelines=run.PIPELINES)
    WRITERS[name](tmp_path / "nb360" / NB360[name].FOLDER)
    rules.validate(config, pipelines=run.PIPELINES)
    with config.unlocked():
        config.task.path = str(tmp_path / "nb360")
    rules.validate(config, pipelines=run.PIPELINES)
    check_budget(Budget(**config.budget.to_dict()), SPACES["open"], task)
    train = config.train
    epochs, rest = divmod(train.steps, 200)
    assert epochs and not rest
    check_trainable(recipe_of(config), task, teacher=False)


def test_a_missing_data_set_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    config = f"--config={ROOT}/experiments/configs/nb360_ecg.py"
    assert run.main(["run.py", config, f"--workdir={tmp_path}/run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "nb360" / "ecg") in line and "nb360.ml.cmu.edu" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
def test_a_design_run_goes_through(name, tmp_path):
    """From the official files to a trained network; of Spherical inputs are read lazily."""
    WRITERS[name](tmp_path / NB360[name].FOLDER)
    small = "design.num_exact=2 design.num_macros=16 design.score_batch=8 design.baselines=()"
    small += " methods.generate.generations=2 train.steps=3 train.batch_size=8"
    small += " train.max_shift=0 budget.params=30_000 budget.macs=1_000_000"
    done = subprocess.run(
        [
            *(sys.executable, "experiments/run.py", f"--workdir={tmp_path}/run"),
            *(f"--config=experiments/configs/nb360_{name}.py", f"--config.task.path={tmp_path}"),
            *(f"--config.{one}" for one in small.split()),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["params"] <= 30_000 and results["macs"] <= 1_000_000
    dataset = data.load("nb360", dataset=name, path=tmp_path)
    correct = results["test_accuracy"] * len(dataset.test.y)
    assert np.isclose(correct, round(correct), atol=1e-3)
