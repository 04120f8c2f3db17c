"""`nasgen.search` as a user calls it: any method, any fitness, finalists trained, errors."""

import jax
import numpy as np
import pytest

import nasgen
from nasgen import data
from nasgen.pretrained.bundle import load_bundle
from nasgen.types import Budget, Task

KEY, TASK, BUDGET = jax.random.key(0), Task("any", (8, 8, 3), 4), Budget(20_000, 400_000)


@pytest.fixture(scope="module")
def bundle():
    return load_bundle("open")


def _narrow(architectures):
    """A user's fitness: the narrower the last stage the better."""
    return np.array([-one.macro.stages[-1].channels for one in architectures], float)


def test_networks_best_first_within_the_budget_with_their_pareto_set(bundle):
    options = dict(method="random", fitness=_narrow, evaluations=40)
    found = nasgen.search(bundle, KEY, TASK, BUDGET, **options)
    assert len(found.architectures) == 40 and found.latency_ms is None
    assert found.scores.tolist() == sorted(found.scores, reverse=True)
    assert found.scores.tolist() == _narrow(found.architectures).tolist()
    assert found.costs.params.max() <= 20_000 and found.costs.macs.max() <= 400_000
    rows = np.stack([-found.scores, found.costs.params, found.costs.macs], 1)
    for row, on_front in zip(rows, found.pareto, strict=True):
        beaten = ((rows <= row).all(1) & (rows < row).any(1)).any()
        assert on_front == (not beaten)
    again = nasgen.search(bundle, KEY, TASK, BUDGET, **options)
    assert again.architectures == found.architectures


def test_generate_on_a_data_set_with_a_proxy_and_finalists_that_are_trained(bundle):
    rungs = []

    def train(architectures, steps):
        rungs.append((len(architectures), steps))
        return np.linspace(0.1, 0.9, len(architectures))

    found = nasgen.search(
        *(bundle, KEY, data.load("digits", seed=0), BUDGET),
        fitness="nwot",
        evaluations=5,
        batch=4,
        settings={"proposals": 64, "generations": 1, "edits": 8, "batch": 4},
        train=train,
        finalists=4,
        steps=10,
    )
    assert rungs == [(4, 10), (2, 20)]
    assert found.accuracies.tolist() == pytest.approx([0.9, 0.1, 0.1 + 0.8 / 3, 0.1])
    assert len(found.architectures) == 5 and np.isfinite(found.scores).all()
    assert found.scores[4] == found.scores.min()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(method="evolutoin"), "`method` must be one of"),
        (dict(fitness="tcet"), "`fitness` must be one of"),
        (dict(evaluations=0), "`evaluations` must be at least 1"),
        (dict(settings={"popullation": 3}), "settings of `generate`"),
        (dict(budget=Budget(params=10)), "`budget.params` must be at least"),
        (dict(task="digits", batch=9_999), "`batch` must be in 2..1079"),
    ],
)
def test_what_cannot_be_met_is_said(bundle, options, says):
    given = dict(task=TASK, budget=BUDGET) | options
    with pytest.raises(ValueError, match=says):
        nasgen.search(bundle, KEY, given.pop("task"), given.pop("budget"), **given)
