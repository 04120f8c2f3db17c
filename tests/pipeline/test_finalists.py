"""Finalists: who they are, who wins, how they go on, and that they save a run from its fitness."""

import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments.configs import quickstart
from nasgen import data
from nasgen.data.task import Dataset, Split
from nasgen.pipeline import finalists
from nasgen.search.problem import BudgetError
from nasgen.spaces import SPACES
from nasgen.spaces.formats import architecture_from_json, architecture_to_json
from nasgen.types import Architecture, Cell, MacroArchitecture, Op, Stage
from tests.search import toy
from tests.training.test_supervised import made

OPEN, KEY = SPACES["open"], jax.random.key(0)
_BY_COST = {toy.cost(one): one for one in toy.problem()[0].sample(KEY, 100)}
WITHIN = [one for cost, one in _BY_COST.items() if cost <= 400]  # no two of the same costs


def _found(networks, scores):
    """As a search's file has it, with the toy's costs."""
    costs = toy.problem()[0].count(networks)
    kept = [architecture_to_json(one, OPEN) for one in networks]
    columns = {"params": costs.params.tolist(), "macs": costs.macs.tolist()}
    return {"architectures": kept, "scores": scores, **columns}


def _config(num=3, steps=10) -> ConfigDict:
    config = quickstart.get_config()
    config.design.finalists, config.design.finalist_steps = num, steps
    return config


def test_the_best_of_different_costs_and_one_that_no_score_chose():
    problem = toy.problem()[0]
    networks = WITHIN[:4] + WITHIN[:1] + WITHIN[4:8]
    scores = [3.0, None, 7.0, 5.0, 6.0, 1.0, 2.0, 4.0, 0.0]  # 6.0 costs what 3.0 does
    rows = finalists.choose(KEY, _found(networks, scores), problem, OPEN, 4)
    best, drawn = rows[:-1], rows[-1]
    assert [one["fitness"] for one in best] == [7.0, 6.0, 5.0, 4.0]
    assert [one["rank"] for one in best] == [1, 2, 3, 4]
    assert [one["scored"] for one in best] == [2, 4, 3, 7]
    assert len({(one["params"], one["macs"]) for one in best}) == 4
    assert drawn["rank"] is drawn["scored"] is drawn["fitness"] is None
    own = architecture_from_json(drawn["architecture"], OPEN)
    assert own not in networks and toy.cost(own) == drawn["params"] <= 400
    few = finalists.choose(KEY, _found(networks, scores), problem, OPEN, 100)
    assert len(few) == 8 + 1 and few[-1] == drawn  # all of different costs


def test_the_one_that_is_drawn_is_fitted_to_the_budget_and_never_over_it():
    problem = toy.problem()[0]
    own = finalists.choose(KEY, _found(WITHIN[:2], [1.0, 2.0]), problem, OPEN, 1)[-1]

    def widened(factor):
        def fit(networks):
            stages = [
                one._replace(channels=factor * one.channels) for one in networks[0].macro.stages
            ]
            macro = networks[0].macro._replace(stages=tuple(stages))
            return [networks[0]._replace(macro=macro)]

        changed = problem._replace(generators=problem.generators._replace(fit=fit))
        return finalists.choose(KEY, _found(WITHIN[:2], [1.0, 2.0]), changed, OPEN, 1)[-1]

    most = 400 // own["params"]
    assert most > 1 and widened(most)["params"] > own["params"]
    assert widened(most + 1) == own


def test_where_nothing_can_be_drawn_the_best_stand_alone(monkeypatch, capsys):
    def never(*arguments, **options):
        raise BudgetError("only 0 of many fit.")

    monkeypatch.setattr(finalists, "draw_within", never)
    rows = finalists.choose(KEY, _found(WITHIN[:3], [1, 2, 3]), toy.problem()[0], OPEN, 2)
    assert [one["rank"] for one in rows] == [1, 2]
    assert "none drawn at random: only 0" in capsys.readouterr().err


class Stopped(Exception):
    """The interruption."""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the stage with accuracies known beforehand; returns its file and what was trained."""
    problem, source = toy.problem()[0], data.load("digits", seed=0)
    (tmp_path / "search.json").write_text(json.dumps(_found(WITHIN[:3], [3.0, 2.0, 1.0])))

    def of(accuracies, *, most=99, again=False):
        if not again:
            (tmp_path / finalists.JOURNAL).unlink(missing_ok=True)
        asked = []

        def train(config, dataset, plan, number, steps, seed):
            if len(asked) == most:
                raise Stopped
            asked.append((steps, number))
            return accuracies[number] + steps / 1_000

        monkeypatch.setattr(finalists, "_train", train)
        figures = finalists.train_finalists(_config(), source, problem, OPEN, tmp_path, key=KEY)
        return json.loads((tmp_path / finalists.FILE).read_text()), asked, figures

    return of


def test_the_better_half_goes_on_and_the_best_of_it_wins(run):
    kept, asked, figures = run([0.1, 0.4, np.nan, 0.3])
    assert asked == [(10, 0), (10, 1), (10, 2), (10, 3), (20, 1), (20, 3)]
    assert [one["networks"] for one in kept["rounds"]] == [[0, 1, 2, 3], [1, 3]]
    assert kept["rounds"][0]["values"] == [0.11, 0.41000000000000003, None, 0.31]
    assert kept["winner"] == 1
    assert figures == {"num_finalists": 4, "winner_fitness_rank": 2}
    assert run([0.1, 0.2, 0.3, 0.4])[2]["winner_fitness_rank"] is None  # the one drawn at random


def test_equally_good_ones_stand_as_their_scores_do(run):
    assert run([0.5, 0.5, 0.5, 0.5])[0]["winner"] == 0
    assert run([np.nan] * 4)[0]["winner"] == 0


@pytest.mark.parametrize("most", [1, 3, 5])
def test_interrupted_and_run_again_equals_a_straight_run(run, most, tmp_path):
    accuracies = [0.1, 0.4, np.nan, 0.3]
    straight, asked, _ = run(accuracies)
    with pytest.raises(Stopped):
        run(accuracies, most=most)
    again, rest, _ = run(accuracies, again=True)
    assert again == straight and rest == asked[most:]


def test_a_damaged_training_is_done_again(run, tmp_path, capsys):
    accuracies = [0.1, 0.4, np.nan, 0.3]
    straight, asked, _ = run(accuracies)
    path = tmp_path / finalists.JOURNAL
    path.write_text(path.read_text().replace("0.41000000000000003", "0.01000000000000003"))
    again, rest, _ = run(accuracies, again=True)
    assert again == straight and rest == [(10, 1)]
    assert f"{path}: 1 damaged" in capsys.readouterr().err


def test_trainings_of_other_networks_are_not_believed(run, tmp_path):
    run([0.1, 0.2, 0.3, 0.4])
    (tmp_path / "search.json").write_text(json.dumps(_found(WITHIN[3:6], [3.0, 2.0, 1.0])))
    assert len(run([0.1, 0.2, 0.3, 0.4], again=True)[1]) == 6
    assert not run([0.1, 0.2, 0.3, 0.4], again=True)[1]


def test_where_less_is_better_the_least_wins(tmp_path, monkeypatch):
    (tmp_path / "search.json").write_text(json.dumps(_found(WITHIN[:3], [3.0, 2.0, 1.0])))
    source = made("regression", 2)
    errors = [40.0, np.nan, 20.0, 30.0]
    monkeypatch.setattr(finalists, "_train", lambda *all_: errors[all_[3]])
    problem = toy.problem()[0]
    finalists.train_finalists(_config(), source, problem, OPEN, tmp_path, key=KEY)
    kept = finalists.read_finalists(tmp_path)
    assert kept["rounds"][1] == {"steps": 20, "networks": [2, 3], "values": [20.0, 30.0]}
    assert kept["winner"] == 2


def test_series_that_a_number_is_asked_of_have_finalists(tmp_path, capsys):
    source = made("regression", 1)
    networks = [_network(CONV, (2,), 8), _network(POOL, (2,), 24)]
    (tmp_path / "search.json").write_text(json.dumps(_found(networks, [2.0, 1.0])))
    problem = toy.problem()[0]._replace(sample=lambda key, num: [_network(CONV, (1,), 16)] * num)
    config = _config(2, 10)
    config.train.batch_size = 32
    finalists.train_finalists(config, source, problem, OPEN, tmp_path, key=KEY)
    values = finalists.read_finalists(tmp_path)["rounds"][0]["values"]
    assert len(values) == 3 and np.isfinite(values).all() and len(set(values)) == 3
    assert "validation mean absolute error" in capsys.readouterr().err


POOL, CONV = (OPEN.ops.index(Op(kind, 3)) for kind in ("avg_pool", "conv"))


def _network(op: int, strides, channels: int) -> Architecture:
    stages = tuple(Stage(0, channels, stride, 1) for stride in strides)
    cell = Cell((op,), ((0, 1), (0, 2), (1, 2)))
    return Architecture(MacroArchitecture(stages, 16), (cell,) * len(stages))


def test_a_fitness_that_praises_what_cannot_learn_is_found_out(tmp_path):
    """What was scored sees no more than the means of a few maps; the network drawn at random has
    convolutions."""
    source = data.load("digits", seed=0)
    small = Dataset(
        source.task,
        Split(source.train.x[:512], source.train.y[:512]),
        Split(source.validation.x[:128], source.validation.y[:128]),
        *source[3:],
    )
    blind = _network(POOL, (2, 2, 2), 8)
    (tmp_path / "search.json").write_text(json.dumps(_found([blind], [9.0])))
    problem = toy.problem()[0]._replace(sample=lambda key, num: [_network(CONV, (2,), 16)] * num)
    found = finalists.train_finalists(_config(1, 80), small, problem, OPEN, tmp_path, key=KEY)
    kept = json.loads((tmp_path / finalists.FILE).read_text())
    assert found == {"num_finalists": 2, "winner_fitness_rank": None} and kept["winner"] == 1
    worse, best = kept["rounds"][0]["values"]
    assert best > worse + 0.15
    assert finalists.read_finalists(tmp_path) == kept
