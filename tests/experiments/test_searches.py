"""The benchmarks of searches as a user types them, with a handful of scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import run
from experiments.configs import bench_authors, bench_search
from nasgen.benchmarks.search import first_at_least
from nasgen.pipeline import config as rules
from nasgen.pipeline.config import SEARCHES

ROOT = Path(__file__).resolve().parents[2]
SEARCH = [
    "--config=experiments/configs/bench_search.py",
    *[f"--config.evaluations.{name}=4" for name in SEARCHES],
    "--config.evaluations.evolution=6",
    "--config.fitness=nwot",  # forward passes alone: half the programs of T-CET's
    "--config.task.size=8",
    "--config.budget.params=20_000",
    "--config.budget.macs=300_000",
    "--config.batch=4",
    "--config.seeds=(0, 1)",
    "--config.marks=(2, 4)",
    "--config.methods.generate.proposals=64",
    "--config.methods.generate.batch=2",
    "--config.methods.generate.generations=1",
    "--config.evaluations.macro_only=2",
    "--config.methods.generate.edits=8",
    "--config.methods.paper.spaces=2",
]


def _run(*arguments, timeout=600):
    command = [sys.executable, "experiments/run.py", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    options = dict(cwd=ROOT, capture_output=True, text=True, timeout=timeout)
    return subprocess.run(command, env=env, **options)


@pytest.fixture(scope="module")
def search_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "run"
    arguments = [*SEARCH, f"--workdir={folder}"]
    done = _run(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, arguments


def test_search_results_have_every_name(search_run):
    folder, _ = search_run
    results = json.loads((folder / "results.json").read_text())
    for name in SEARCHES:
        if name == "macro_only":
            assert f"{name}/best_score_at/4" not in results and results[f"{name}/evaluations"] == 2
            continue
        best = results[f"{name}/best_score_at/4"]
        low, high = results[f"{name}/best_score_at/4/interval"]
        assert low <= best <= high and len(results[f"{name}/best_score_at/4/all"]) == 2
        assert results[f"{name}/best_score_at/2"] <= best
        assert 0 <= results[f"{name}/hypervolume"] <= 1
        assert results[f"{name}/evaluations"] == (6 if name == "evolution" else 4)
    reached = results["evaluations_to_match_evolution_6/all"]
    assert all(one is None or 1 <= one <= 4 for one in reached)
    for seed in (0, 1):
        curves = {n: json.loads((folder / f"found/{n}_{seed}.json").read_text()) for n in SEARCHES}
        for name, one in curves.items():
            assert len(one["scores"]) == {"evolution": 6, "macro_only": 2}.get(name, 4)
            assert max(one["params"]) <= 20_000 and max(one["macs"]) <= 300_000
        mark, ours = max(curves["evolution"]["scores"]), curves["generate"]["scores"]
        first = next((i + 1 for i, value in enumerate(ours) if value >= mark), None)
        assert reached[seed] == first


def test_search_page_and_pictures(search_run):
    page = (search_run[0] / "report.md").read_text()
    assert "| HL-Evo (the paper's) |" in page and "Hypervolume" in page
    for name in ("curves", "pareto"):
        assert f"figures/{name}.png" in page
        assert (search_run[0] / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_benchmark_goes_on(search_run, monkeypatch, capsys):
    folder, arguments = search_run
    before = json.loads((folder / "results.json").read_text())
    (folder / "results.json").unlink()
    (folder / "found" / "random_1.json").unlink()  # its state is kept: nothing is scored again
    monkeypatch.chdir(ROOT)
    assert run.main(["run.py", *arguments]) == 0
    said = capsys.readouterr().err
    assert "evolution_1: done before" in said and "random_1: done in" in said
    after = json.loads((folder / "results.json").read_text())
    assert {k: v for k, v in after.items() if "seconds" not in k} == {
        k: v for k, v in before.items() if "seconds" not in k
    }
    assert before["random/seconds"] > 0 and after["random/seconds"] is None  # nobody knows
    assert after["evolution/seconds"] == before["evolution/seconds"]
    assert "| interrupted |" in (folder / "report.md").read_text()


def test_first_at_least():
    curve = np.array([1.0, 3.0, 3.0, 5.0])
    assert [first_at_least(curve, mark) for mark in (0, 3, 4, 5, 6)] == [1, 2, 4, 4, np.inf]


@pytest.mark.parametrize("module", [bench_search, bench_authors])
def test_shipped_configs_are_valid(module):
    rules.validate(module.get_config().lock(), pipelines=run.PIPELINES)


@pytest.mark.parametrize(
    ("config", "override", "says"),
    [
        ("search", "--config.fitness=tcet", "did you mean `t_cet`"),
        ("search", "--config.fitness=az_nas", "ranks among what one method has scored"),
        ("search", "--config.budget.params=10", "`config.budget.params` must be at least"),
        ("search", "--config.evaluations.random=-1", "`config.evaluations.random`"),
        ("search", "--config.pretrained=nowhere", "`pretrained` must be one of ['open']"),
        ("authors", "--config.sets=('cifar10',)", "did you mean `cifar`"),
        ("authors", "--config.evaluations=0", "`config.evaluations` must be"),
    ],
)
def test_bad_requests_are_one_line(tmp_path, monkeypatch, capsys, config, override, says):
    monkeypatch.chdir(ROOT)
    argv = ["run.py", f"--config=experiments/configs/bench_{config}.py"]
    argv += [f"--workdir={tmp_path / 'run'}", "--config.compilation_cache=false"]
    assert run.main([*argv, override]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_authors_as_a_user_types_it(tmp_path):
    """One of the authors' networks, and few scores of ours: minutes, since they are large."""
    folder = tmp_path / "run"
    arguments = ["--config=experiments/configs/bench_authors.py", f"--workdir={folder}"]
    arguments += ["--config.sets=('cifar',)", "--config.seeds=(0,)", "--config.evaluations=3"]
    arguments += ["--config.authors=1", "--config.batch.cifar=2"]
    arguments += ["--config.methods.generate.proposals=256"]
    done = _run(*arguments, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((folder / "results.json").read_text())
    assert results["cifar/evaluations"] == 3 and results["cifar/best_params"] <= 1_000_000
    assert results["cifar/best_macs"] <= results["cifar/budget_macs"] == 957_487_008
    assert results["cifar/best_score"] > 0 and results["cifar/authors_best_score"] > 0
    for one in ("best_score", "authors_best_score"):
        first, again = results[f"cifar/{one}"], results[f"cifar/again/{one}"]
        assert first != again and 0.5 < first / again < 2
