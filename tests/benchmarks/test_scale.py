"""The simulated cost at scale: its arithmetic, and the command."""

import json

import pytest

from experiments import run
from experiments.configs import bench_scale
from nasgen.benchmarks.scale import STAGES, simulate

SENT = {"bytes_of_an_architecture": 100.0}
MEASURED = {f"core_seconds/{name}": 0.01 for name in STAGES} | SENT


def test_more_hosts_divide_all_but_the_exchange():
    config = bench_scale.get_config()
    figures = simulate(config, MEASURED)
    for name in STAGES:
        assert figures[f"hours/1/{name}"] == pytest.approx(64 * figures[f"hours/64/{name}"])
    assert figures["hours/1/exchange"] == 0 < figures["hours/64/exchange"]
    for hosts in (1, 64):
        parts = [figures[f"hours/{hosts}/{name}"] for name in (*STAGES, "exchange")]
        assert sum(parts) == pytest.approx(figures[f"hours/{hosts}/total"])


def test_faster_accelerators_leave_the_host():
    config = bench_scale.get_config()
    config.device_speedup = 1e12
    assert simulate(config, MEASURED)["share_of_hosts/1"] == pytest.approx(1)


def test_an_accelerator_that_is_here_counts_as_it_is():
    config = bench_scale.get_config()
    clocks = {name: "device" if part.on_device else "core" for name, part in STAGES.items()}
    measured = {f"{clock}_seconds/{name}": 0.01 for name, clock in clocks.items()} | SENT
    here, assumed = simulate(config, measured), simulate(config, MEASURED)
    for name, clock in clocks.items():
        times = config.device_speedup if clock == "device" else 1
        assert here[f"hours/1/{name}"] == pytest.approx(times * assumed[f"hours/1/{name}"])


@pytest.mark.slow
def test_the_benchmark_as_a_user_types_it(tmp_path):
    small = {"block": 8, "num_scored": 2, "score_batch": 8, "repeats": 1, "budget.macs": 2_000_000}
    more = [f"--config.{name}={value}" for name, value in small.items()]
    command = ["run.py", "--config=experiments/configs/bench_scale.py"]
    assert run.main([*command, f"--workdir={tmp_path / 'run'}", *more]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert all(results[f"core_seconds/{name}"] > 0 for name in STAGES)
    # a score costs more than writing one, whatever the machine
    assert results["core_seconds/score"] > results["core_seconds/write cells"]
    assert "| total |" in (tmp_path / "run" / "report.md").read_text()
