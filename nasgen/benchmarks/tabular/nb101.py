"""NAS-Bench-101 (Ying et al., ICML 2019): 423,624 cells, CIFAR-10, 108 epochs.

The table at hand holds the mean test accuracy of each cell and, of a uniform sample of 20,001,
validation accuracies and seconds of training. So a query shows the test accuracy that is reported,
and where no seconds are recorded it is charged what they are for its params (least squares of the
logarithms on the sample). `curves` are those of the sample, nan elsewhere.
"""

from functools import cache

import numpy as np
from jaxtyping import Array, Int, Key

from nasgen.benchmarks import tables
from nasgen.benchmarks.tabular.digits import ONE_CELL
from nasgen.benchmarks.tabular.table import Table
from nasgen.spaces import graphs, nb101
from nasgen.types import ABSENT, INPUT, MAX_NODES, OUTPUT, Architecture, CellBatch

DATA_SETS = ("cifar10",)
EPOCHS, SHORTER = 108, (4, 12, 36)
_LAST = MAX_NODES - 1


@cache
def load(data_set: str = "cifar10") -> Table:
    """The table. Raises UserError where a file is not there. Takes a minute: every cell is brought
    to its canonical form."""
    frame, sample = tables.read(tables.NB101), tables.read(tables.NB101_CURVES)
    cells = _cells(frame)
    rows = {key: row for row, key in enumerate(graphs.canonical_keys(cells))}
    accuracy = 100 * frame["test_acc_108"].to_numpy(np.float64)
    params = frame["params"].to_numpy(np.float64)
    place = sample["row"].to_numpy()
    recorded = sample["train_time_s"].to_numpy(np.float64)
    slope, start = np.polyfit(np.log(params[place]), np.log(recorded), 1)
    seconds = np.exp(start + slope * np.log(params))
    seconds[place] = recorded

    def architecture(row: int) -> Architecture:
        return Architecture(ONE_CELL, tuple(graphs.unpack(graphs.take(cells, [row]))))

    def find(one: Architecture) -> int | None:
        return rows.get(graphs.canonical_key(one.cells[0]))

    def mutate(key: Key[Array, ""], row: int) -> int:
        return rows[graphs.canonical_key(nb101.mutate(key, architecture(row).cells[0]))]

    return Table(
        name=f"nb101/{data_set}",
        space="nb101",
        digits=None,
        cells=cells,
        validation=accuracy,
        test=accuracy,
        sees="mean test accuracy, which is reported too, %",
        seconds=seconds,
        timing="recorded for 20,001 cells, elsewhere by their params",
        epochs=EPOCHS,
        curves={
            epochs: _spread(100 * sample[f"val_acc_{epochs}"].to_numpy(), place, len(frame))
            for epochs in SHORTER
        },
        costs={"params": params},
        latency={},
        architecture=architecture,
        row=find,
        mutate=mutate,
    )


def _spread(values: np.ndarray, place: Int[np.ndarray, " sample"], num: int) -> np.ndarray:
    column = np.full(num, np.nan)
    column[place] = values
    return column


def _cells(frame) -> CellBatch:
    """All cells at once, see `tables.decode_nb101` for the bits."""
    num, bits = frame["n"].to_numpy(np.int64), frame["adj_bits"].to_numpy(np.int64)
    nodes = np.full((len(frame), MAX_NODES), ABSENT, np.int8)
    nodes[:, 0], nodes[:, _LAST] = INPUT, OUTPUT
    adjacency = np.zeros((len(frame), MAX_NODES, MAX_NODES), bool)
    for row, ops in enumerate(frame["ops"]):
        nodes[row, 1 : 1 + len(ops)] = [int(op) for op in ops]
    for child in range(1, MAX_NODES - 1):
        for parent in range(child):
            edge = tables.has_edge(bits, parent, child)
            adjacency[:, parent, child] = edge & (child < num - 1)
            adjacency[edge & (child == num - 1), parent, _LAST] = True
    return CellBatch(nodes, adjacency)
