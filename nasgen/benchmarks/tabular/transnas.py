"""TransNAS-Bench-101 (Duan et al., CVPR 2021), its 4,096 cells (micro), seven tasks.

The table at hand holds one validation figure a task and nothing of test, seconds or costs: what a
query shows is what is reported, and it is charged 1.
"""

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
from jaxtyping import Int

from nasgen.benchmarks import tables
from nasgen.benchmarks.tabular.digits import digit_table
from nasgen.benchmarks.tabular.table import Table
from nasgen.networks.costs import count
from nasgen.networks.plans.transnas import make_plan
from nasgen.spaces import transnas
from nasgen.types import Task

DATA_SETS = (
    "class_scene",
    "class_object",
    "room_layout",
    "jigsaw",
    "segmentsemantic",
    "normal",
    "autoencoder",
)

_TASK = Task("class_object", (256, 256, 3), 75)


@cache
def load(data_set: str) -> Table:
    """The table of one of `DATA_SETS`. Raises UserError where the file is not there."""
    found = tables.transnas_micro()
    values, digits = found.measures[data_set], np.array(found.architectures)
    return digit_table(
        transnas.SPACE,
        digits,
        name=f"transnas_micro/{data_set}",
        validation=values,
        test=values,
        sees="validation metric, which is reported too",
        seconds=np.ones(len(values)),
        timing="none recorded: 1 a query",
        epochs=25,
        curves={},
        costs=_costs(digits),
        latency={},
    )


def _costs(digits: Int[np.ndarray, "rows edges"]) -> dict[str, np.ndarray]:
    """Of the classifiers of objects. Each edge adds what its op costs, so few are counted."""

    def counted(choices: Sequence[int]) -> np.ndarray:
        costs = count(make_plan(transnas.cell(choices), _TASK))
        return np.array([costs.params, costs.macs], np.float64)

    num_ops, num_edges = len(transnas.OPS), digits.shape[1]
    none = counted([0] * num_edges)
    adds = np.zeros((num_edges, num_ops, 2))
    for edge, op in product(range(num_edges), range(1, num_ops)):
        adds[edge, op] = counted([op if i == edge else 0 for i in range(num_edges)]) - none
    found = none[None] + adds[np.arange(num_edges)[None], digits].sum(1)
    return dict(zip(("params", "macs"), found.T, strict=True))
