"""NAS-Bench-Macro (Su et al., CVPR 2021): eight layers of three choices, 6,561 networks, CIFAR-10.

Each was trained three times. A query shows the first training; the mean of all three is reported,
by which the benchmark names its best. Some rows build the same network and share every figure. No
seconds are recorded: a query is charged 1.
"""

from functools import cache

import numpy as np

from nasgen.benchmarks import tables
from nasgen.benchmarks.tabular.digits import stage_table
from nasgen.benchmarks.tabular.table import Table

NUM_CHOICES = 3  # identity, inverted bottlenecks of kernel 3 and expansion 3, of 5 and 6
DATA_SETS = ("cifar10",)


@cache
def load(data_set: str = "cifar10") -> Table:
    """The table. Raises UserError where the file is not there."""
    frame = tables.read(tables.NB_MACRO)
    return stage_table(
        NUM_CHOICES,
        np.array([[int(choice) for choice in name] for name in frame["arch"]]),
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
