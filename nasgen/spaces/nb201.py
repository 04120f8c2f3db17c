"""`nb201`: the cells of NAS-Bench-201 (Dong & Yang, ICLR 2020), 15,625 in all.

Four vertices, one of five ops on each of the six edges. A cell is named by six digits or by a
string `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`, where `~i` is the vertex that an edge comes from and
both list the edges in this order: 0->1, 0->2, 1->2, 0->3, 1->3, 2->3.
"""

import re
from collections.abc import Sequence
from reprlib import repr as brief

from nasgen.spaces import edge_cells
from nasgen.types import Cell, Op

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPS = (
    Op("zero", 0),
    Op("skip_connect", 0),
    Op("conv", 1),
    Op("conv", 3),
    Op("avg_pool", 3),
)
NAMES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

_WIRING = edge_cells.line_graph(EDGES)


def cell(digits: Sequence[int]) -> Cell:
    """The cell of six digits 0..4. Raises ValueError."""
    return edge_cells.cell_of(digits, wiring=_WIRING, num_ops=len(OPS))


def digits(cell: Cell) -> tuple[int, ...]:
    """The six digits of a cell. Raises ValueError for a cell of another space."""
    return edge_cells.digits_of(cell, wiring=_WIRING)


def to_string(cell: Cell) -> str:
    """The name of a cell in the benchmark. Raises ValueError for a cell of another space."""
    tokens = {edge: NAMES[op] for edge, op in zip(EDGES, digits(cell), strict=True)}
    rows = [[f"{tokens[i, j]}~{i}" for i in range(j)] for j in (1, 2, 3)]
    return "+".join(f"|{'|'.join(row)}|" for row in rows)


def from_string(name: str) -> Cell:
    """The cell of this name. Raises ValueError."""
    ops = "|".join(NAMES)
    rows = ["".join(rf"\|({ops})~{i}" for i in range(j)) + r"\|" for j in (1, 2, 3)]
    match = re.fullmatch(r"\+".join(rows), name)
    if not match:
        raise ValueError(
            "`name` must read '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|' with each op of "
            f"{', '.join(NAMES)}; got {brief(name)}."
        )
    return cell([NAMES.index(op) for op in match.groups()])


SPACE = edge_cells.make_space("nb201", OPS, _WIRING)
