"""A tabular benchmark: every network of a small space, trained by others, row by row.

A method sees `validation` alone, a query at a time, and is charged the seconds that the training
took (`query`). `test` is looked up once, for the network that validation picked (`picked`). Higher
is better, in the benchmark's own units (accuracies in percent).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, Key

from nasgen.types import Architecture, CellBatch

Column = Float[np.ndarray, " rows"]


class Table(NamedTuple):
    """One data set or task of a benchmark; all arrays row by row.

    name: `benchmark/data set`. space: of its cells, None where networks are no cells.
    digits: choices, for spaces of the same number of choices in every row.
    cells: None where networks are no cells.
    validation, test: of the trained networks. sees: what stands in `validation`, in words.
    seconds: of the training that a query asks for. timing: where they come from, in words.
    curves: validation after fewer epochs, of which `epochs` is all.
    costs: `params`, `macs`, as the benchmark has them. latency: milliseconds by device.
    architecture: of a row. row: of an architecture; None where the benchmark has none such.
    mutate: `(key, row) -> row`, one random edit away.
    stands: for each row the one that `row` gives for its network; None where every row is its own.
    """

    name: str
    space: str | None
    digits: Int[np.ndarray, "rows choices"] | None
    cells: CellBatch | None
    validation: Column
    test: Column
    sees: str
    seconds: Column
    timing: str
    epochs: int
    curves: Mapping[int, Column]
    costs: Mapping[str, Column]
    latency: Mapping[str, Column]
    architecture: Callable[[int], Architecture]
    row: Callable[[Architecture], int | None]
    mutate: Callable[[Key[Array, ""], int], int]
    stands: Int[np.ndarray, " rows"] | None = None

    @property
    def num_rows(self) -> int:
        """Networks."""
        return len(self.validation)

    @property
    def networks(self) -> Int[np.ndarray, " networks"]:
        """The rows of different networks."""
        return np.arange(self.num_rows) if self.stands is None else np.unique(self.stands)

    def rows(self, architectures: Iterable[Architecture]) -> Int[np.ndarray, " rows_of_these"]:
        """The row of each, all of which the benchmark must have."""
        return np.array([self.row(one) for one in architectures], int)


class Queries(NamedTuple):
    """What was asked of a table, in order. rows: the networks. epochs: of each training.
    validation: what was seen. seconds: that were charged, added up."""

    rows: tuple[int, ...] = ()
    epochs: tuple[int, ...] = ()
    validation: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()


def query(queries: Queries, table: Table, row: int, epochs: int | None = None) -> Queries:
    """The queries with one more: a training of `row` for so many epochs, all by default. A network
    whose training goes on where an earlier query ended is charged for the rest alone.

    Raises ValueError for a number of epochs that the benchmark has no record of."""
    epochs = table.epochs if epochs is None else epochs
    if epochs != table.epochs and epochs not in table.curves:
        known = sorted([*table.curves, table.epochs])
        raise ValueError(f"`epochs` of {table.name} must be one of {known}; got {epochs}.")
    seen = table.validation if epochs == table.epochs else table.curves[epochs]
    trained = [e for r, e in zip(queries.rows, queries.epochs, strict=True) if r == row]
    share = max(epochs - max(trained, default=0), 0) / table.epochs
    before = queries.seconds[-1] if queries.seconds else 0.0
    return Queries(
        (*queries.rows, row),
        (*queries.epochs, epochs),
        (*queries.validation, float(seen[row])),
        (*queries.seconds, before + share * float(table.seconds[row])),
    )


def picked(table: Table, rows: Int[np.ndarray, " queries"]) -> Int[np.ndarray, " queries"]:
    """After each query of a full training, the network of the best validation so far (the first of
    equals)."""
    seen = table.validation[rows]
    best = np.maximum.accumulate(seen)
    first = np.concatenate([[True], best[1:] > best[:-1]])
    return np.asarray(rows)[np.maximum.accumulate(np.where(first, np.arange(len(seen)), 0))]
