"""`nb101`: the cells of NAS-Bench-101 (Ying et al., ICML 2019), 423,624 up to isomorphism.

Up to five op nodes between input and output and at most nine edges, free to run between any two
nodes; an op is a 3x3 or 1x1 convolution or 3x3 max pooling. Every node lies on a path from input to
output; a lone edge from input to output is a cell too.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Bool, Key

from nasgen.keys import generator
from nasgen.spaces import graphs
from nasgen.spaces.space import Space
from nasgen.types import ABSENT, INPUT, MAX_NODES, OUTPUT, Cell, CellBatch, CellRules, Op

OPS = (Op("conv", 3), Op("conv", 1), Op("max_pool", 3))
MAX_OPS, MAX_EDGES = 5, 9
RULES = CellRules(len(OPS), 0, MAX_OPS, min_edges=1, max_edges=MAX_EDGES)


def cell_from_matrix(matrix: Sequence[Sequence[int]] | np.ndarray, ops: Sequence[int]) -> Cell:
    """The cell of an upper triangular 0-1 matrix over input, ops and output, with op codes 0..2.

    Nodes that lie on no path from input to output vanish. Raises ValueError for anything else, and
    where more than nine edges or no path are left.
    """
    matrix, num = np.asarray(matrix), len(ops) + 2
    if matrix.shape != (num, num) or np.tril(matrix).any() or not np.isin(matrix, (0, 1)).all():
        raise ValueError(
            f"`matrix` must be 0-1, strictly upper triangular, with {num} rows and columns for "
            f"{num - 2} ops; got {matrix.tolist()}."
        )
    if num > MAX_OPS + 2 or not all(0 <= op < len(OPS) for op in ops):
        raise ValueError(
            f"`ops` must be at most {MAX_OPS} numbers in 0..{len(OPS) - 1}; got {[*ops]}."
        )
    edges = tuple((int(u), int(v)) for u, v in np.argwhere(matrix))
    batch = _clean(graphs.pack([Cell(tuple(map(int, ops)), edges)]))
    if not is_valid(batch)[0]:
        raise ValueError(
            f"`matrix` must lead from input to output with at most {MAX_EDGES} edges; "
            f"got {matrix.tolist()}."
        )
    return graphs.unpack(batch)[0]


def sample(key: Key[Array, ""], num: int) -> CellBatch:
    """`num` valid cells: three times as many are drawn with one op node more, for so the space
    itself grows; those with too many edges are drawn again."""
    rng = generator(key)
    batches, missing = [], num
    while missing > 0:
        batch = _draw(rng, 2 * missing + 8)
        batch = graphs.take(batch, np.flatnonzero(is_valid(batch))[:missing])
        batches.append(batch)
        missing -= len(batch.nodes)
    return graphs.concatenate(batches) if batches else graphs.pack([])


def _draw(rng: np.random.Generator, num: int) -> CellBatch:
    """Cells of which each node has a random parent and a random child, and some edges more."""
    growth = 3.0 ** np.arange(MAX_OPS + 1)
    sizes = rng.choice(MAX_OPS + 1, num, p=growth / growth.sum())
    nodes = np.full((num, MAX_NODES), ABSENT, np.int8)
    nodes[:, 0], nodes[:, -1] = INPUT, OUTPUT
    ops = rng.integers(0, len(OPS), (num, MAX_OPS))
    nodes[:, 1 : 1 + MAX_OPS] = np.where(np.arange(MAX_OPS) < sizes[:, None], ops, ABSENT)
    extra = rng.uniform(0, 0.2, (num, 1, 1))
    adjacency = np.triu(rng.random((num, MAX_NODES, MAX_NODES)) < extra, 1)
    cells = np.arange(num)
    for node in range(1, 1 + MAX_OPS):
        adjacency[cells, rng.integers(0, node, num), node] = True
    for node in range(1 + MAX_OPS):  # children: later op nodes, else the output
        child = rng.integers(node + 1, np.maximum(sizes, node) + 2)
        adjacency[cells, node, np.where(child > sizes, MAX_NODES - 1, child)] = True
    absent = nodes == ABSENT
    return CellBatch(nodes, adjacency & ~absent[:, :, None] & ~absent[:, None])


def _clean(batch: CellBatch) -> CellBatch:
    return graphs.compact(graphs.prune(batch))


def is_valid(batch: CellBatch) -> Bool[np.ndarray, " batch"]:
    """Which cells obey the rules above."""
    inner = batch.nodes[:, 1:-1]
    ops = ((inner >= 0) & (inner < len(OPS))) | (inner == ABSENT)
    few = ((inner != ABSENT).sum(1) <= MAX_OPS) & (batch.adjacency.sum((1, 2)) <= MAX_EDGES)
    return ops.all(1) & few & graphs.well_formed(batch, min_edges=RULES.min_edges)


def mutate(key: Key[Array, ""], cell: Cell) -> Cell:
    """A valid cell one random edit away: an op changed, an edge flipped, or a node added."""
    rng = generator(key)
    return graphs.edited(cell, lambda: _clean(_edit(rng, cell)), is_valid)


def _edit(rng: np.random.Generator, cell: Cell) -> CellBatch:
    ops, edges, output = list(cell.ops), set(cell.edges), len(cell.ops) + 1
    node = int(rng.integers(1, MAX_OPS + 1))
    if node > len(ops):  # a new node at a random place, between two others
        place = int(rng.integers(1, output + 1))
        ops.insert(place - 1, int(rng.integers(len(OPS))))
        edges = {(u + (u >= place), v + (v >= place)) for u, v in edges}
        later = rng.integers(place + 1, output + 2)
        edges |= {(int(rng.integers(place)), place), (place, int(later))}
    elif rng.random() < 0.5:
        ops[node - 1] = int(rng.integers(len(OPS)))
    else:
        parent, child = np.sort(rng.choice(output + 1, 2, replace=False)).tolist()
        edges ^= {(parent, child)}
    return graphs.pack([Cell(tuple(ops), tuple(sorted(edges)))])


SPACE = Space("nb101", OPS, sample, mutate, is_valid, RULES)
