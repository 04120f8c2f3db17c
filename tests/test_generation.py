"""`nasgen.generate` as a user types it: within the budget, best first, refusals of one line."""

import jax
import numpy as np
import pytest

import nasgen
from nasgen import data
from nasgen.models.surrogate import predict
from nasgen.networks import costs, latency_model
from nasgen.networks.features import features
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.generators import ranker_of
from nasgen.search.problem import BudgetError, fits
from nasgen.spaces import SPACES
from tests.networks.toy_latency import PREDICTOR

OPEN = SPACES["open"]
BUDGET = nasgen.Budget(params=30_000, macs=2_000_000)


@pytest.fixture(scope="module")
def params():
    return nasgen.load_pretrained()


def test_three_lines_in_a_notebook(params):
    networks = nasgen.generate(params, jax.random.key(0), "digits", BUDGET, num=4)
    task = data.load("digits", seed=0).task
    plans = [make_plan(one, OPEN.ops, task) for one in networks]
    assert len(set(networks)) == 4
    assert fits(costs.count_many(networks, OPEN.ops, task), BUDGET).all()
    ranker = ranker_of(params, "predicted_accuracy", 1_000)
    assert (np.diff(ranker.prior(np.array([ranker.describe(one) for one in plans]))) <= 0).all()
    assert nasgen.generate(params, jax.random.key(0), task, BUDGET, num=4) == networks
    other = nasgen.generate(params, jax.random.key(1), task, BUDGET, num=4)
    assert not set(other) & set(networks)
    deep = nasgen.generate(params, jax.random.key(0), task, BUDGET, num=4, fitness="t_cet")
    scores = predict(
        params.surrogate, np.array([features(make_plan(one, OPEN.ops, task)) for one in deep])
    )
    assert (np.diff(scores) <= 0).all() and not set(deep) & set(networks)


@pytest.mark.parametrize(
    ("kind", "shape", "macs"),
    [("classification", (120, 2), 1_500_000), ("segmentation", (24, 17, 3), 12_000_000)],
)
def test_series_and_maps_keep_their_budgets(params, kind, shape, macs):
    """Nearly used up, too: the closed form of costs knows both. So few MACs want strides."""
    task, budget = nasgen.Task("toy", shape, 4, kind), nasgen.Budget(60_000, macs)
    made = nasgen.generate(params, jax.random.key(0), task, budget, num=4)
    counted = costs.count_many(made, OPEN.ops, task)
    assert fits(counted, budget).all()
    used = np.maximum(counted.params / budget.params, counted.macs / budget.macs)
    assert len(made) == 4 and np.median(used) > 0.9
    assert any(stage.stride == 2 for one in made for stage in one.macro.stages)


def test_the_examples_of_the_docstrings_run():
    """Every example is run as it stands."""
    names = {"nasgen": nasgen, "jax": jax}
    for function in (nasgen.load_pretrained, nasgen.generate):
        (line,) = [one for one in function.__doc__.splitlines() if "nasgen." in one]
        exec(line.strip(), names)
    assert isinstance(names["params"], tuple)


def test_latency_is_kept(params):
    task = nasgen.Task("toy", (32, 32, 3), 10)
    free = nasgen.generate(params, jax.random.key(0), task, nasgen.Budget(macs=10**7), num=4)
    latency = lambda made: latency_model.predict(  # noqa: E731
        PREDICTOR, [make_plan(one, OPEN.ops, task) for one in made]
    )
    budget = nasgen.Budget(latency_ms=float(np.median(latency(free))))
    fast = nasgen.generate(
        params, jax.random.key(0), task, budget, num=4, candidates=8, predictor=PREDICTOR
    )
    assert fast and (latency(fast) <= budget.latency_ms).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(task="digist"), "Did you mean 'digits'"),
        (dict(num=0), "`num` must be at least 1"),
        (dict(candidates=0), "`candidates` must be at least 1"),
        (dict(budget=nasgen.Budget(params=0)), "`budget.params` must be positive"),
        (dict(budget=nasgen.Budget(params=50)), "`budget.params` must be at least"),
    ],
)
def test_refusals_are_one_line(params, change, says):
    request = dict(task="digits", budget=BUDGET) | change
    with pytest.raises(ValueError, match=says) as error:
        nasgen.generate(params, jax.random.key(0), **request)
    assert "\n" not in str(error.value)


def test_unknown_weights_are_one_line():
    with pytest.raises(ValueError, match="`pretrained` must be one of") as error:
        nasgen.load_pretrained("opne")
    assert "\n" not in str(error.value)
    assert issubclass(BudgetError, ValueError)
