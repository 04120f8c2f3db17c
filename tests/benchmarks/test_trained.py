"""The benchmark by real training, as a user types it, on digits and at tiny size."""

import json

import numpy as np
import pytest

from experiments import run
from nasgen.benchmarks.contest import BY_HAND, ENTRANTS, by_hand
from nasgen.networks.costs import count
from nasgen.networks.plans.open import make_plan
from nasgen.spaces.open import OPS
from nasgen.types import Budget, Task

SMALL = {
    "task.name": "digits",
    "budget.params": 20_000,
    "budget.macs": 600_000,
    "num_seeds": 2,
    "num_exact": 4,
    "num_proposals": 16,
    "score_batch": 8,
    "methods.generate.batch": 2,
    "methods.generate.generations": 1,
    "methods.generate.edits": 4,
    "num_train": 64,
    "num_test": 40,
    "steps": "(1,2)",
    "batch_size": 8,
    "warmup": 1,
    "max_shift": 1,
    "flip": False,
    "least_used": 0.0,
    "bootstrap": 20,
}


def _command(name, folder, **settings):
    more = [f"--config.{key}={value}" for key, value in {**SMALL, **settings}.items()]
    return ["run.py", f"--config=experiments/configs/{name}.py", f"--workdir={folder}", *more]


@pytest.mark.parametrize("name", BY_HAND)
def test_networks_by_hand_keep_the_budget_and_use_it(name):
    task, budget = Task("cifar10", (32, 32, 3), 10), Budget(params=100_000, macs=10_000_000)
    costs = count(make_plan(by_hand(name, budget, task), OPS, task))
    assert costs.params <= 100_000 and costs.macs <= 10_000_000
    assert max(costs.params / 100_000, costs.macs / 10_000_000) > 0.9


def test_a_hand_that_cannot_is_one_line(tmp_path, capsys):
    command = _command("bench_trained", tmp_path / "run", **{"budget.params": 1_000})
    assert run.main(command) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "must allow the smallest resnet" in line


def test_names_of_entrants_are_checked(tmp_path, capsys):
    for given in ("('nasgn',)", "()"):
        assert run.main(_command("bench_trained", tmp_path / "run", entrants=given)) == 2
        assert "`config.entrants`" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": "(8, 4)"}, "`config.steps` must ascend; got (8, 4)."),
        ({"num_train": 16, "score_batch": 17}, "`config.score_batch` must be at most"),
        ({"budget.latency_ms": 1.0}, "must bound params, MACs or activation memory, and not"),
        ({"budget.params": None, "budget.macs": None}, "must bound params, MACs or activation"),
    ],
)
def test_what_would_fail_after_the_searches_is_said_before(tmp_path, capsys, changes, says):
    command = _command("bench_trained", tmp_path / "run", **changes)
    assert run.main(command) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_benchmark_as_a_user_types_it(tmp_path):
    folder = tmp_path / "bench"
    small = {"entrants": "('nasgen','random')", "by_hand": "('resnet',)", "num_trainings": 2}
    command = _command("bench_trained", folder, **small)
    assert run.main(command) == 0
    results = json.loads((folder / "results.json").read_text())
    own, other = (np.array(results[f"{n}/test_accuracy/all"]) for n in ("nasgen", "random"))
    assert own.shape == other.shape == (2, 2)
    assert results["nasgen/test_accuracy/mean"] == pytest.approx(own.mean())
    assert results["nasgen/over/random/mean"] == pytest.approx((own - other).mean())
    low, high = (results[f"nasgen/over/random/{end}"] for end in ("low", "high"))
    assert low <= results["nasgen/over/random/mean"] <= high
    assert results["by_steps/2/num_networks"] == 5  # two found by each, one by hand
    assert -1 <= results["by_steps/2/depth/spearman"] <= 1
    page = (folder / "report.md").read_text()
    assert "| ResNet, by hand |" in page and (folder / "figures" / "accuracies.png").exists()
    assert run.main(command) == 0  # finished: nothing is done again


@pytest.mark.slow
def test_the_ablations_as_a_user_types_them(tmp_path):
    folder = tmp_path / "bench"
    assert run.main(_command("bench_ablations", folder, num_seeds=1)) == 0
    results = json.loads((folder / "results.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    for name in config["entrants"]:
        assert name in ENTRANTS and 0 <= results[f"{name}/test_accuracy/mean"] <= 1
    assert results["nasgen_params/fitness"][0] == results["nasgen_params/params"]
    assert results["nasgen_macs/fitness"][0] == results["nasgen_macs/macs"]


@pytest.mark.slow
def test_the_ablations_on_a_series(tmp_path):
    waves = np.sin(np.arange(12) * np.arange(1, 121)[:, None] / 9).round(3)
    rows = (",".join(map(str, (f"kind {i % 3}", *wave))) for i, wave in enumerate(waves))
    (tmp_path / "waves.csv").write_text("\n".join(["label," + ",".join("abcdefghijkl"), *rows]))
    given = {"task.name": "own", "task.path": tmp_path / "waves.csv", "max_shift": 0}
    given |= {"num_seeds": 1, "entrants": "('nasgen', 'random')"}
    command = _command("bench_ablations_series", tmp_path / "bench", **given)
    assert run.main(command) == 0
    results = json.loads((tmp_path / "bench" / "results.json").read_text())
    assert 0 <= results["nasgen/test_accuracy/mean"] <= 1
    assert results["nasgen/macs"] <= 600_000 and results["num_networks"] == 2
