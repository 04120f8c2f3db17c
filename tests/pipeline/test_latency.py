"""The kept file of latencies: measured once, found again; and what a bound on latency implies."""

import json

import jax
import numpy as np
import pytest

from nasgen.networks.latency import Table
from nasgen.networks.latency_model import predict
from nasgen.networks.plan import Layer
from nasgen.pipeline import latency
from nasgen.search.problem import BudgetError
from nasgen.types import Architecture, Budget, MacroArchitecture, Stage
from tests.networks.toy_latency import PREDICTOR
from tests.search import toy

MEASURED = latency.Measured(
    Table("toy", 1, 0.1, {(Layer("identity", 8, 8), (4, 4)): 0.5}, 2.0), PREDICTOR, 3.0
)


@pytest.fixture
def batches(monkeypatch):
    """The batches that were measured, by a stand-in for `measure`."""
    asked = []

    def measure(key, effort, *, batch):
        asked.append(batch)
        return MEASURED

    monkeypatch.setattr(latency, "measure", measure)
    return asked


def test_what_was_measured_is_kept(tmp_path, batches):
    path = tmp_path / "new" / "latency.json"
    for batch in (1, 1, 8, 1, 8):
        assert latency.kept(path, batch=batch) == MEASURED
    assert batches == [1, 8]
    assert len(json.loads(path.read_text())) == 2
    assert [one.name for one in path.parent.iterdir()] == ["latency.json"]


@pytest.mark.parametrize("content", ["", "[]", "no", '{"NAME": {"table": 1}}', '{"NAME": 3}'])
def test_another_file_is_refused(tmp_path, batches, content):
    path = tmp_path / "latency.json"
    path.write_text(content.replace("NAME", f"{latency.device_name()}, batch 1"))
    with pytest.raises(ValueError, match="the file of latencies must hold"):
        latency.kept(path)
    assert not batches


def test_random_networks_share_sizes_equally_and_are_pure_in_the_key():
    plans = latency.random_plans(jax.random.key(0), 7, sizes=(8, 16), max_channels=32)
    assert [plan.input_shape[0] for plan in plans] == [8] * 4 + [16] * 3
    assert plans == latency.random_plans(jax.random.key(0), 7, sizes=(8, 16), max_channels=32)
    assert (predict(PREDICTOR, plans) > 0).all()


def _cost_ms(architectures):
    return np.array([toy.cost(one) / 100 for one in architectures])


def _propose(key, budget, num):
    """Networks that use 60 to 300 % of the MACs they are asked for."""
    rng = np.random.default_rng(int(jax.random.key_data(key)[-1]))
    if budget.macs < 300:
        raise BudgetError("too small")
    params = rng.uniform(0.6, 3.0, num) * budget.macs / 10
    stages = [(Stage(0, int(one), 1, 1),) for one in params]
    return [Architecture(MacroArchitecture(one, 8), (toy.CELL,)) for one in stages]


@pytest.mark.parametrize("bound", [0.5, 2.0, 8.0])
def test_proposals_under_the_implied_budget_are_fast_enough(bound):
    # Toy costs: 100 params a millisecond, MACs ten times the params.
    budget = Budget(params=10**6, latency_ms=bound)
    problem = toy.problem()[0]._replace(budget=budget, latency=_cost_ms)
    implied = latency.implied_budget(jax.random.key(0), problem, _propose)
    assert (implied.params, implied.latency_ms) == (10**6, bound)
    assert implied.macs < 1000 * bound
    proposed = _propose(jax.random.key(5), implied, 200)
    assert (_cost_ms(proposed) <= bound).mean() > 0.25


def test_the_implied_budget_keeps_bounds_that_are_given_and_ends():
    problem = toy.problem()[0]
    assert latency.implied_budget(jax.random.key(0), problem, _propose) == problem.budget
    slow = problem._replace(
        budget=Budget(macs=700, latency_ms=8.0), latency=lambda some: np.full(len(some), 9.0)
    )
    implied = latency.implied_budget(jax.random.key(0), slow, _propose)
    assert 300 <= implied.macs <= 700
