"""A table of every cell of NAS-Bench-201 with made-up accuracies, so that no data are needed.

Convolutions help, skips on the edge from input to output too; validation is test with noise.
"""

import itertools

import numpy as np

from nasgen.benchmarks.tabular.digits import digit_table
from nasgen.benchmarks.tabular.table import Table
from nasgen.spaces import nb201

_WORTH = np.array([0.0, 1.0, 2.0, 3.0, 0.5])  # of none, skip, conv 1x1, conv 3x3, pooling
_COST = np.array([0, 0, 1, 9, 0])


def table() -> Table:
    """Seconds grow with params; curves after 12 of 200 epochs; one device."""
    digits = np.array(list(itertools.product(range(5), repeat=6)))
    rng = np.random.default_rng(0)
    test = 50 + _WORTH[digits].sum(1) + 2.0 * (digits[:, 3] == 1)
    validation = test + rng.normal(0, 0.2, len(test))
    params = 1e4 * (1.0 + _COST[digits].sum(1))
    return digit_table(
        nb201.SPACE,
        digits,
        name="made_up/images",
        validation=validation,
        test=test,
        sees="validation accuracy",
        seconds=params / 100,
        timing="made up",
        epochs=200,
        curves={12: validation - 20},
        costs={"params": params, "macs": 50 * params},
        latency={"phone": params / 1e4},
    )
