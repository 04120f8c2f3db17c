"""What the smallest budget is: refused below it, in one line, and truly enough at it."""

import jax
import pytest

from nasgen.networks import costs
from nasgen.networks.latency_model import predict
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.config import UserError
from nasgen.pipeline.request import check_budget, check_latency, pools_of, smallest_networks
from nasgen.spaces import SPACES, graphs, macro
from nasgen.types import Architecture, Budget, Task
from tests.networks.toy_latency import PREDICTOR

OPEN = SPACES["open"]
TASKS = [
    Task("grey", (8, 8, 1), 10),
    Task("colour", (32, 20, 3), 100),
    Task("large", (224, 224, 3), 1000, stem_stride=2),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_no_random_network_costs_less(task):
    least = costs.count_many(list(smallest_networks(OPEN, task)), OPEN.ops, task)
    pools = list(smallest_networks(OPEN, task, pools_of(OPEN)))
    of_pools = costs.count_many(pools, OPEN.ops, task)
    size = min(task.input_shape[:2]) // task.stem_stride
    macros = macro.sample(jax.random.key(0), 400, num_clusters=1, size=size, max_channels=32)
    cells = iter(graphs.unpack(OPEN.sample(jax.random.key(1), sum(len(m.stages) for m in macros))))
    drawn = [Architecture(m, tuple(next(cells) for _ in m.stages)) for m in macros]
    counted = costs.count_many(drawn, OPEN.ops, task)
    for name in Budget().counted:
        smallest = int(getattr(least, name).min())
        assert smallest <= getattr(counted, name).min()
        assert smallest == getattr(of_pools, name).min()
        check_budget(Budget(**{name: smallest}), OPEN, task)
        with pytest.raises(UserError, match=f"`config.budget.{name}` must be at least"):
            check_budget(Budget(**{name: smallest - 1}), OPEN, task)


@pytest.mark.parametrize("task", TASKS[:2], ids=lambda task: task.name)
def test_the_least_latency_is_allowed_and_less_is_not(task):
    plans = [make_plan(one, OPEN.ops, task) for one in smallest_networks(OPEN, task)]
    least = float(predict(PREDICTOR, plans).min())
    check_latency(Budget(latency_ms=least), PREDICTOR, OPEN, task)
    with pytest.raises(UserError, match="`config.budget.latency_ms` must be at least") as error:
        check_latency(Budget(latency_ms=0.99 * least), PREDICTOR, OPEN, task)
    named = float(str(error.value).split("at least ")[1].split(",")[0])
    assert least <= named <= 1.01 * least
