"""`transnas_micro`: the cells of TransNAS-Bench-101's micro space (Duan et al., CVPR 2021), 4,096.

Four vertices, one of four ops on each of the six edges. A cell is named by six digits that list the
edges in this order: 0->1, 0->2, 1->2, 0->3, 1->3, 2->3, as in the benchmark's own names
`64-41414-d_dd_ddd`. Some sources say that the ops are Identity, Zero, 3x3, 1x1 and that edge 0->3
stands third; the published accuracies contradict them: as read here, the 169 cells whose input does
not reach their output are the ones at chance, and the published parameters are met.
"""

from collections.abc import Sequence

from nasgen.spaces import edge_cells
from nasgen.types import Cell, Op

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPS = (Op("zero", 0), Op("skip_connect", 0), Op("conv", 1), Op("conv", 3))

_WIRING = edge_cells.line_graph(EDGES)


def cell(digits: Sequence[int]) -> Cell:
    """The cell of six digits 0..3. Raises ValueError."""
    return edge_cells.cell_of(digits, wiring=_WIRING, num_ops=len(OPS))


def digits(cell: Cell) -> tuple[int, ...]:
    """The six digits of a cell. Raises ValueError for a cell of another space."""
    return edge_cells.digits_of(cell, wiring=_WIRING)


SPACE = edge_cells.make_space("transnas_micro", OPS, _WIRING)
