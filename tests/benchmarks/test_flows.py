"""The benchmark of the flow's objectives: the mark by hand, and a short run on shipped weights."""

import json

import numpy as np
import pytest

from experiments import run
from experiments.configs import bench_flow
from nasgen.benchmarks import flows as benchmark
from nasgen.benchmarks.flows import Trace
from nasgen.pipeline import config as rules


def test_the_mark_is_what_both_reach():
    """Flow matching reaches -80 half way between its evaluations at 1 and 2 s, likelihood training
    at 40 s."""
    traces = {
        "flow_matching": Trace([0.0, 1.0, 2.0, 3.0], [-100.0, -90.0, -70.0, -60.0], 30, 1.0),
        "likelihood": Trace([0.0, 20.0, 40.0], [-100.0, -85.0, -80.0], 4, 9.0),
    }
    figures = benchmark.compare(traces, 15.0)
    assert figures["mark_nats"] == -80
    assert figures["flow_matching/seconds_to_mark"] == 1.5
    assert figures["likelihood/seconds_to_mark"] == 40
    assert figures["speedup_flow_matching"] == pytest.approx(40 / 1.5)
    assert not figures["likelihood_reached_best_of_matching"]
    assert figures["likelihood/seconds_a_step"] == 10


def test_a_short_run(tmp_path):
    folder = tmp_path / "run"
    small = "weights=nb201", "num_cells=400", "num_held=16", "seconds=0.5", "patience=2"
    sizes = "evaluations=3", "batch_size=32", "model.width=16", "model.depth=1"
    argv = ["run.py", "--config=experiments/configs/bench_flow.py", f"--workdir={folder}"]
    assert run.main([*argv, *(f"--config.{change}" for change in (*small, *sizes))]) == 0
    results = json.loads((folder / "results.json").read_text())
    for name in ("flow_matching", "likelihood"):
        seconds, nats = results[f"{name}/seconds"], results[f"{name}/nats"]
        assert len(seconds) == len(nats) == 4 and seconds == sorted(seconds)
        assert np.isfinite(nats).all() and nats[-1] > nats[0]
    assert results["flow_matching/nats"][0] == results["likelihood/nats"][0]  # the same start
    assert results["speedup_flow_matching"] > 0


def test_the_rules_cover_the_config():
    assert set(rules.flat(bench_flow.get_config())) == set(benchmark.RULES)


def test_unknown_weights_are_refused(tmp_path, capsys):
    argv = ["run.py", "--config=experiments/configs/bench_flow.py", f"--workdir={tmp_path}/run"]
    assert run.main([*argv, "--config.weights=nowhere"]) == 2
    assert "`config.weights` must be one of" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
