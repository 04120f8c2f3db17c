"""The command of a tabular benchmark, at tiny size on the real table, as a user types it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from experiments.configs import bench_nb201
from nasgen.benchmarks.tabular import run
from nasgen.benchmarks.tabular.figures import Asked, curves
from nasgen.benchmarks.tabular.methods import ask
from nasgen.benchmarks.tabular.writer import Known
from tests.benchmarks.tabular import made_up
from tests.conftest import ROOT

TINY = (
    "--config.seeds=(0,1)",
    "--config.queries=12",
    "--config.marks=(1,5,12)",
    "--config.data_sets=('cifar100',)",
    "--config.bounds.devices=('raspi4',)",
    "--config.bounds.queries=12",
    "--config.nasgen.draws=32",
    "--config.nasgen.steps=2",
    "--config.nasgen.sample=128",
)


def _run(folder, *options):
    command = [
        *(sys.executable, "experiments/run.py"),
        "--config=experiments/configs/bench_nb201.py",
        f"--workdir={folder}",
        *options,
    ]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ, check=False
    )


@pytest.fixture(scope="module")
def ran(shared_data, tmp_path_factory):
    os.environ.setdefault("NASGEN_DATA", str(shared_data))
    folder = tmp_path_factory.mktemp("bench") / "nb201"
    return folder, _run(folder, *TINY)


def test_results(ran):
    folder, done = ran
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "results.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    for method in config["methods"]:
        for mark in (1, 5, 12):
            assert 10 < results[f"{method}/cifar100/test_at/{mark}/mean"] <= 73.52
    for end in ("mean", "low", "high", "all"):
        assert f"nasgen/cifar100/test_at/0/{end}" in results
    assert results["nasgen/cifar100/test_at/0/mean"] == results["nasgen/cifar100/test_at/1/mean"]
    assert results["nasgen/cifar100/test_at/1/mean"] > 60  # which no training led to
    assert results["optimum/cifar100"] == pytest.approx(73.5133, abs=1e-3)
    assert results["nasgen/latency/raspi4/cifar100/inside"] == 1
    assert len(results["random/cifar100/test_at/12/all"]) == 2
    page = (folder / "report.md").read_text()
    assert "best by validation of all" in page and "raspi4" in page and "None" not in page


def test_the_same_command_is_done_and_a_wrong_data_set_is_refused(ran, tmp_path):
    folder, _ = ran
    again = _run(folder, *TINY)
    assert again.returncode == 0 and "exact" not in again.stdout
    wrong = _run(tmp_path / "x", "--config.data_sets=('jigsaw',)")
    assert wrong.returncode == 2 and not (tmp_path / "x").exists()
    assert "`config.data_sets` must be among cifar10, cifar100, ImageNet16-120" in wrong.stderr
    assert len(wrong.stderr.strip().splitlines()) == 1
    none = _run(tmp_path / "y", "--config.data_sets=()")
    assert none.returncode == 2 and not (tmp_path / "y").exists()
    assert "`config.data_sets` must name at least one of cifar10" in none.stderr


def test_curves_never_rise_against_validation_and_hours_add_up():
    table = made_up.table()
    asked = Asked([np.arange(10), np.arange(20, 35)], [0.0, 0.0])
    found = curves(table, asked)
    assert found["regret"].shape == found["hours"].shape == (2, 10)
    assert found["hours"][0, -1] == pytest.approx(table.seconds[:10].sum() / 3600)
    assert (found["regret"] >= 0).all()


def test_no_seed_is_run_twice_where_a_run_was_interrupted(tmp_path, monkeypatch):
    table, known = made_up.table(), Known(None, None, None, {})
    config = bench_nb201.get_config()
    config.seeds = (3, 4, 5)
    asked = []

    def interrupted(*args, **options):
        asked.append(None)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return ask(*args, **options)

    options = table, known, "random", None, 6
    run._ask_all(config, tmp_path / "straight.json", *options)
    monkeypatch.setattr(run, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run._ask_all(config, tmp_path / "resumed.json", *options)
    assert not (tmp_path / "resumed.json").exists()
    run._ask_all(config, tmp_path / "resumed.json", *options)
    assert len(asked) == 4 and len(list(tmp_path.iterdir())) == 2
    straight, resumed = (
        json.loads((tmp_path / f"{name}.json").read_text())["rows"]
        for name in ("straight", "resumed")
    )
    assert straight == resumed and len(resumed) == 3
