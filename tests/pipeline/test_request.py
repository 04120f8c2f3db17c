"""What the smallest budget is: refused below it, in one line, and truly enough at it."""

import jax
import pytest

from nasgen.networks import costs
from nasgen.pipeline.config import UserError
from nasgen.pipeline.request import check_budget, smallest_networks
from nasgen.spaces import SPACES, graphs, macro
from nasgen.types import Architecture, Budget, Task

OPEN = SPACES["open"]
TASKS = [
    Task("grey", (8, 8, 1), 10),
    Task("colour", (32, 20, 3), 100),
    Task("large", (224, 224, 3), 1000, stem_stride=2),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_no_random_network_costs_less(task):
    least = costs.count_many(list(smallest_networks(OPEN, task)), OPEN.ops, task)
    size = min(task.input_shape[:2]) // task.stem_stride
    macros = macro.sample(jax.random.key(0), 400, num_clusters=1, size=size, max_channels=32)
    cells = iter(graphs.unpack(OPEN.sample(jax.random.key(1), sum(len(m.stages) for m in macros))))
    drawn = [Architecture(m, tuple(next(cells) for _ in m.stages)) for m in macros]
    counted = costs.count_many(drawn, OPEN.ops, task)
    for name in Budget._fields:
        smallest = int(getattr(least, name).min())
        assert smallest <= getattr(counted, name).min()
        check_budget(Budget(**{name: smallest}), OPEN, task)
        with pytest.raises(UserError, match=f"`config.budget.{name}` must be at least"):
            check_budget(Budget(**{name: smallest - 1}), OPEN, task)
