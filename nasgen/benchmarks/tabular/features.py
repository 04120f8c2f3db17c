"""What is known of the networks of a table before any is trained, as vectors.

Choices one by one; of cells of any wiring the histograms of their Weisfeiler-Lehman colours (ops,
then ops with their parents and children, twice), the most common ones; logarithms of costs.
"""

import numpy as np
from jaxtyping import Float, Int

from nasgen.benchmarks.tabular.table import Table
from nasgen.spaces import graphs
from nasgen.types import ABSENT, CellBatch

_ROUNDS, _COLOURS = 2, 64  # of Weisfeiler and Lehman; that are counted, a round


def features(table: Table) -> Float[np.ndarray, "rows features"]:
    """Standardised columns, each with its deviation over the whole table."""
    parts = [np.log(np.maximum(column, 1))[:, None] for column in table.costs.values()]
    if table.digits is not None:
        choices = np.arange(table.digits.max() + 1)
        chosen = table.digits[:, :, None] == choices[None, None]
        parts.append(chosen.reshape(table.num_rows, -1))
    else:
        parts.append(_histograms(table.cells))
    found = np.concatenate(parts, 1).astype(np.float32)
    spread = found.std(0)
    kept = spread > 0
    return (found[:, kept] - found[:, kept].mean(0)[None]) / spread[kept][None]


def _histograms(cells: CellBatch) -> Int[np.ndarray, "rows colours"]:
    found, present = [], cells.nodes != ABSENT
    for colours in graphs.rounds_of_colours(cells, _ROUNDS):
        values, counts = np.unique(colours[present], return_counts=True)
        common = values[np.argsort(-counts, kind="stable")[:_COLOURS]]
        found += [((colours == value) & present).sum(1) for value in common]
    return np.stack(found, 1)
