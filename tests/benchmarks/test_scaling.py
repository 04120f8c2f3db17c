"""The benchmark of scaling: its arithmetic, its page, and the command."""

import json

import pytest

from experiments import run
from nasgen.benchmarks.scaling import figures

SOAK = {"scores/early": 100, "scores/late": 105, "steps/early": 200, "steps/late": 200}


def test_figures_by_hand():
    scored = {n: {"wall": wall, "core_seconds": 10.0} for n, wall in {1: 10.0, 2: 6.25}.items()}
    searched = {n: {"core_seconds": n**1.5, "peak_memory": 7.0 * n} for n in (10, 100, 1000)}
    found = figures(scored, searched, SOAK)
    assert found["scoring/1/efficiency"] == 1 and found["scoring/2/efficiency"] == 0.8
    assert found["search/slope"] == pytest.approx(1.5)
    assert found["search/memory_ratio"] == 100
    assert found["soak/scores/growth"] == pytest.approx(0.05) and found["soak/steps/growth"] == 0


@pytest.mark.slow
def test_the_benchmark_as_a_user_types_it(tmp_path):
    small = {"num_scored": 4, "score_batch": 4, "repeats": 1, "candidates": "(8,32)", "block": 8}
    small |= {"task.size": 8, "task.channels": 1, "budget.params": 12_000, "kept": 4}
    small |= {"budget.macs": 300_000, "soak.candidates": 10, "soak.steps": 10}
    more = [f"--config.{name}={value}" for name, value in small.items()]
    command = ["run.py", "--config=experiments/configs/bench_scaling.py"]
    assert run.main([*command, f"--workdir={tmp_path / 'run'}", *more]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert 0.1 < results["scoring/2/efficiency"] < 2
    assert results["search/32/core_seconds"] > results["search/8/core_seconds"] > 0
    assert results["search/8/peak_memory"] > 2**20
    page = (tmp_path / "run" / "report.md").read_text()
    assert "Slope of log seconds" in page and "figures/search.png" in page


def test_more_processes_than_cores_are_refused(tmp_path, capsys):
    command = ["run.py", "--config=experiments/configs/bench_scaling.py"]
    argv = [*command, f"--workdir={tmp_path / 'run'}", "--config.processes=(1,1024)"]
    assert run.main(argv) == 2
    assert "`config.processes` must be at most" in capsys.readouterr().err
