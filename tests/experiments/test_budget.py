"""The benchmarks of budgets and of a new task as a user types them, with a few requests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import run
from experiments.configs import bench_budget, bench_new_task
from nasgen.benchmarks import budget
from nasgen.pipeline import config as rules
from nasgen.report.budget import NAMES, ROOM, SIZES, regions

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "--config.seeds=(0, 1)",
    "--config.requests=24",
    "--config.recounted=6",
    "--config.sizes=(8, 40)",
    "--config.macs=(10_000, 10_000_000)",
]


def _run(*arguments):
    command = [sys.executable, "experiments/run.py", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    options = dict(cwd=ROOT, capture_output=True, text=True, timeout=900)
    return subprocess.run(command, env=env, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "run"
    arguments = ["--config=experiments/configs/bench_budget.py", f"--workdir={folder}", *SMALL]
    done = _run(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_results_have_every_name(finished):
    results = json.loads((finished / "results.json").read_text())
    for name in ("share_using_90_percent", "uniqueness", "architectures_per_second"):
        values = results[f"{name}/all"]
        assert len(values) == 2 and results[name] == pytest.approx(np.median(values))
        low, high = results[f"{name}/interval"]
        assert low <= np.mean(values) <= high
    assert results["over_budget"] == 0 and results["recounted_over_budget"] == 0
    assert results["recounted"] == 12 and 0.5 < results["share_using_90_percent"] <= 1
    reasons = {n: v for n, v in results.items() if n.startswith("impossible/") and n[-4:] != "/all"}
    assert sum(reasons.values()) - reasons.get("impossible/not found", 0) == results["impossible"]
    assert 0 < results["impossible"] < 48


def test_page_and_map(finished):
    page = (finished / "report.md").read_text()
    assert "Networks over budget | 0" in page and "figures/regions.png" in page
    assert (finished / "figures" / "regions.png").read_bytes().startswith(b"\x89PNG")
    rows = [np.load(finished / f"requests_{seed}.npz") for seed in (0, 1)]
    shares = regions({n: np.concatenate([one[n] for one in rows]) for n in rows[0].files})
    assert shares.shape == (len(SIZES) + 1, len(NAMES) * (len(ROOM) + 1))
    assert np.isfinite(shares).sum() > 5 and np.isnan(shares).any()


def test_regions_by_hand():
    # 8 px, params 20 times the least and memory 5 times: memory is tightest, its third room.
    one = dict(size=[8, 8], limits=[[20.0, np.inf, 5.0]] * 2, least=[[1.0, 1.0, 1.0]] * 2)
    requests = {n: np.array(v) for n, v in dict(used=[0.95, 0.5], can=[True, True], **one).items()}
    shares = regions(requests)
    assert shares[0, 2 * (len(ROOM) + 1) + 2] == 0.5 and np.isnan(shares).sum() == shares.size - 1


def test_requests_are_of_every_subset():
    config = bench_budget.get_config().lock()
    tasks, budgets = budget.draw_requests(budget.jax.random.key(0), 700, config)
    subsets = [tuple(b is not None for b in one.counted.values()) for one in budgets]
    assert len(set(subsets)) == 7 and (False,) * 3 not in subsets
    assert min(t.input_shape[0] for t in tasks) == 8 and max(t.num_classes for t in tasks) > 900
    params = np.array([one.params for one in budgets if one.params is not None])
    shares = np.histogram(np.log10(params), [4, 5, 6, 7])[0] / len(params)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.1)


def test_a_new_task_in_a_fresh_process(tmp_path):
    arguments = ["--config=experiments/configs/bench_new_task.py", f"--workdir={tmp_path / 'run'}"]
    done = _run(*arguments, "--config.seeds=(0,)", "--config.num=2")
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["networks"] == 2 and results["over_budget"] == 0
    assert results["seconds_to_networks"] > results["seconds_compile"] > 0


@pytest.mark.parametrize(
    ("config", "override", "says"),
    [
        ("bench_budget", "--config.sizes=(40, 8)", "`config.sizes` must be the least and the most"),
        ("bench_budget", "--config.pretrained=opne", "`config.pretrained` must be one of"),
        ("bench_new_task", "--config.budget.params=50", "`budget.params` must be at least"),
    ],
)
def test_bad_requests_are_one_line(tmp_path, config, override, says):
    folder = tmp_path / "run"
    path = f"--config=experiments/configs/{config}.py"
    done = _run(path, f"--workdir={folder}", override)
    assert done.returncode == 2
    assert says in done.stderr.strip().splitlines()[-1] and not folder.exists()


@pytest.mark.parametrize("module", [bench_budget, bench_new_task])
def test_shipped_configs_are_valid(module):
    rules.validate(module.get_config().lock(), pipelines=run.PIPELINES)
