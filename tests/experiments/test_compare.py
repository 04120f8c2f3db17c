"""A design run with a ResNet beside it, as a user types it: one budget, one recipe, one folder."""

import json

import pytest

from experiments import run
from nasgen.networks.costs import count_many
from nasgen.pipeline.config import HANDMADE
from nasgen.pipeline.workdir import RESULTS
from nasgen.published import handmade
from nasgen.spaces.formats import architecture_from_json
from nasgen.spaces.open import OPS, SPACE
from nasgen.training import metrics
from nasgen.types import Budget, Task

DIGITS = Task("digits", (8, 8, 1), 10)
BUDGET = Budget(params=9_000, macs=200_000)
SMALL = [
    "--config=experiments/configs/cifar10_small.py",
    "--config.task.name=digits",
    f"--config.budget.params={BUDGET.params}",
    f"--config.budget.macs={BUDGET.macs}",
    "--config.design.num_exact=2",
    "--config.design.num_macros=16",
    "--config.design.baselines=()",
    "--config.train.steps=6",
    "--config.report.plots=false",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run, its arguments and its results."""
    folder = tmp_path_factory.mktemp("compare") / "run"
    arguments = ["run.py", *SMALL, f"--workdir={folder}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.Path(run.__file__).parents[1])
        assert run.main(arguments) == 0
    return folder, arguments, json.loads((folder / RESULTS).read_text())


@pytest.mark.slow
def test_both_keep_the_budget_and_have_the_names(finished):
    _, _, results = finished
    for start in ("", "resnet/"):
        assert 0 <= results[f"{start}test_accuracy"] <= 1
        assert results[f"{start}test_examples"] == 359
        assert 0 < results[f"{start}params"] <= BUDGET.params
        assert 0 < results[f"{start}macs"] <= BUDGET.macs
        assert results[f"{start}latency_ms_measured"] > 0
    seconds = {name: value for name, value in results.items() if name.startswith("seconds/")}
    assert {"seconds/train", "seconds/train_resnet", "seconds/deliver_resnet"} <= set(seconds)
    assert results["seconds_total"] == pytest.approx(sum(seconds.values()))


@pytest.mark.slow
def test_the_other_is_the_largest_of_its_family(finished):
    folder, _, results = finished
    written = json.loads((folder / "resnet" / "network" / "architecture.json").read_text())
    made = architecture_from_json(written, SPACE)
    assert made == handmade.scaled_to("resnet", BUDGET, DIGITS)
    counted = count_many([made], OPS, DIGITS)
    assert (results["resnet/params"], results["resnet/macs"]) == (counted.params, counted.macs)
    card = (folder / "resnet" / "network" / "README.md").read_text()
    assert "made by hand" in card and "| Wall time | train " in card


@pytest.mark.slow
def test_both_are_trained_by_the_same_recipe(finished):
    folder, _, _ = finished
    cards = [(folder / n / "README.md").read_text() for n in ("network", "resnet/network")]
    tables = [card.partition("## Training")[2].partition("## How")[0] for card in cards]
    assert "| steps | 6 |" in tables[0] and tables[0] == tables[1]
    rows = [metrics.read(folder / n / "metrics.jsonl") for n in ("train", "resnet/train")]
    steps = [[(row["kind"], row["step"]) for row in one] for one in rows]
    assert steps[0] == steps[1] and steps[0][-1] == ("eval", 6)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_the_stage_it_lacks(finished, monkeypatch, capsys):
    folder, arguments, before = finished
    monkeypatch.chdir(run.Path(run.__file__).parents[1])
    (folder / RESULTS).unlink()
    (folder / "stages" / "deliver_resnet.json").unlink()
    assert run.main(arguments) == 0
    said = capsys.readouterr()
    assert "train: done before" in said.err and "train_resnet: done before" in said.err
    assert "deliver_resnet: done in" in said.err
    assert "Beside it, resnet by hand: " in said.out
    after = json.loads((folder / RESULTS).read_text())
    timed = ("seconds", "latency", "resnet/latency")
    assert {k: v for k, v in after.items() if not k.startswith(timed)} == {
        k: v for k, v in before.items() if not k.startswith(timed)
    }


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("--config.beside=resnett", "did you mean `resnet`"),
        ("--config.budget.macs=30_000", "must allow the smallest resnet for digits"),
        ("--config.train.micro_batches=3", "must divide `train.batch_size`"),
    ],
)
def test_bad_requests_are_one_line(tmp_path, monkeypatch, capsys, override, says):
    monkeypatch.chdir(run.Path(run.__file__).parents[1])
    assert run.main(["run.py", *SMALL, f"--workdir={tmp_path / 'run'}", override]) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error")]
    assert says in line
    assert not (tmp_path / "run").exists()


def test_families_are_those_of_the_rules():
    assert set(HANDMADE) == set(handmade.FAMILIES)
