"""A run in advance: what it says, and that it counts as the run does."""

import numpy as np
import pytest

from experiments import run
from experiments.configs import quickstart
from nasgen.pipeline import rehearsal
from nasgen.pipeline.request import load_request
from nasgen.search.halving import successive_halving
from nasgen.types import Architecture, Budget, Costs, MacroArchitecture

FOUND = rehearsal.Rehearsal(Costs(29_000, 300_000, 57, 40, 100_000), 0.5, 0.1, 384, 38.0)
QUICK = "--config=experiments/configs/quickstart.py"


@pytest.fixture(scope="module")
def request_of_quickstart():
    return load_request(quickstart.get_config())


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 9, 16])
def test_steps_are_those_of_halving(num):
    asked = []

    def train(some, steps):
        asked.append(len(some) * steps)
        return np.zeros(len(some))

    networks = [Architecture(MacroArchitecture((), i), ()) for i in range(num)]
    successive_halving(networks, train, steps=60)
    assert rehearsal.finalist_steps(num, 60) == sum(asked)


def test_it_says_what_would_run_and_what_that_takes(request_of_quickstart):
    text = rehearsal.in_words(quickstart.get_config(), request_of_quickstart, FOUND)
    for line in (
        "  budget.params = 30000",
        "  search     generate: 32 exact scores, 2,048 proposals",
        "  finalists  3 and one drawn at random, 480 steps in all",
        "  train      640 steps of 64 images, 40 epochs",
        "  network    29 k parameters, 300 k MACs for one image, 57 layers",
        "  compiles   384 small programs, 38 s, now kept",
        # 96 scores of .5 s, 480 and 640 steps of .1 s
        "  time       48 s of scores, 48 s of finalists, 1 min 04 s of training: about 2 min 40 s",
    ):
        assert line in text


def test_without_a_bound_nothing_is_foretold(request_of_quickstart):
    free = request_of_quickstart._replace(budget=Budget())
    config = quickstart.get_config()
    assert rehearsal.rehearse(config, free) is None
    assert "not foretold" in rehearsal.in_words(config, free, None)


def test_of_other_pipelines_the_settings_are_said(capsys):
    assert run.main(["run.py", "--config=experiments/configs/bench_flow.py", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "pipeline = 'bench_flow'" in said and "not foretold" in said


def test_bad_input_is_one_line_here_too(capsys):
    assert run.main(["run.py", QUICK, "--dry_run", "--config.budget.params=0"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "budget.params" in line


@pytest.mark.slow
def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run.main(["run.py", f"--config={quickstart.__file__}", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert "What it would take" in said and "MACs for one image" in said
    assert not list(tmp_path.iterdir())
