"""NAS-Bench-Macro (Su et al., CVPR 2021): eight layers of three choices, 6,561 networks, CIFAR-10.

Each was trained three times. A query shows the first training; the mean of all three is reported,
by which the benchmark names its best. The layers lie in three stages; behind a stage's first layer
an identity is nothing at all, so 3,969 different networks share 6,561 rows: the first of each is
the row that counts. No seconds are recorded: a query is charged 1.
"""

from functools import cache

import numpy as np
from jaxtyping import Int

from nasgen.benchmarks import tables
from nasgen.benchmarks.tabular.digits import stage_table
from nasgen.benchmarks.tabular.table import Table

NUM_CHOICES = 3  # identity, inverted bottlenecks of kernel 3 and expansion 3, of 5 and 6
DATA_SETS = ("cifar10",)
_STAGES = (2, 3, 3)  # layers, the first of which changes the resolution


@cache
def load(data_set: str = "cifar10") -> Table:
    """The table. Raises UserError where the file is not there."""
    frame = tables.read(tables.NB_MACRO)
    digits = np.array([[int(choice) for choice in name] for name in frame["arch"]])
    return stage_table(
        NUM_CHOICES,
        digits,
        without_identities(digits),
        name=f"nb_macro/{data_set}",
        validation=frame["test_acc_0"].to_numpy(np.float64),
        test=frame["mean_acc"].to_numpy(np.float64),
        sees="test accuracy of the first of three trainings, %",
        seconds=np.ones(len(frame)),
        timing="none recorded: 1 a query",
        epochs=50,
        curves={},
        costs={
            "params": frame["params"].to_numpy(np.float64),
            "macs": frame["flops"].to_numpy(np.float64),
        },
        latency={},
    )


def without_identities(digits: Int[np.ndarray, "rows 8"]) -> Int[np.ndarray, "rows 8"]:
    """The same networks with every stage's identities, but for its first layer, behind its other
    layers."""
    moved = digits.copy()
    for start, num in zip(np.cumsum((0, *_STAGES[:-1])), _STAGES, strict=True):
        rest = digits[:, start + 1 : start + num]
        order = np.argsort(rest == 0, axis=1, kind="stable")
        moved[:, start + 1 : start + num] = np.take_along_axis(rest, order, 1)
    return moved
