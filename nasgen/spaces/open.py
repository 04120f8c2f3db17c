"""`open`: the paper's cell space (Xiang et al., ICML 2024, section 4).

Up to six op nodes between input and output; an op is one of nine kinds with kernel 1, 3 or 5. Raw
draws also hold `skip_connect` nodes (28 choices a node), which vanish: their parents are wired to
their children. A cell has at least three edges and every node lies on a path from input to output.
"""

import numpy as np
from jaxtyping import Array, Bool, Key

from nasgen.keys import generator
from nasgen.spaces import graphs
from nasgen.spaces.space import Space
from nasgen.types import (
    ABSENT,
    INPUT,
    MAX_NODES,
    MAX_OP_NODES,
    OUTPUT,
    Cell,
    CellBatch,
    CellRules,
    Op,
)

KINDS = (
    "avg_pool",
    "conv",
    "sep_conv",
    "dil_conv",
    "mbconv_2",
    "mbconv_3",
    "mbconv_6",
    "bconv_05",
    "bconv_025",
)
KERNELS = (1, 3, 5)
OPS = tuple(Op(kind, kernel) for kind in KINDS for kernel in KERNELS)
RULES = CellRules(
    len(OPS), 1, MAX_OP_NODES, min_edges=3, max_edges=MAX_NODES * (MAX_NODES - 1) // 2
)

_SKIP = len(OPS)  # code of skip_connect in raw draws; never in a finished cell
_DENSITY = (0.35, 0.9)  # a cell's edge probability is drawn from this range


def sample(key: Key[Array, ""], num: int) -> CellBatch:
    """`num` valid cells: six random nodes with random edges, cleaned; too small ones redrawn."""
    rng = generator(key)
    batches, missing = [], num
    while missing > 0:
        batch = clean(_draw(rng, missing + missing // 4 + 8))
        batch = graphs.take(batch, np.flatnonzero(is_valid(batch))[:missing])
        batches.append(batch)
        missing -= len(batch.nodes)
    return graphs.concatenate(batches) if batches else graphs.pack([])


def _draw(rng: np.random.Generator, num: int) -> CellBatch:
    nodes = np.empty((num, MAX_NODES), np.int8)
    nodes[:, 0], nodes[:, -1] = INPUT, OUTPUT
    nodes[:, 1:-1] = rng.integers(0, _SKIP + 1, (num, MAX_OP_NODES))
    density = rng.uniform(*_DENSITY, (num, 1, 1))
    return CellBatch(nodes, np.triu(rng.random((num, MAX_NODES, MAX_NODES)) < density, 1))


def clean(batch: CellBatch) -> CellBatch:
    """Removes skip connections and nodes that lie on no path, and moves absent nodes back."""
    return graphs.compact(graphs.prune(graphs.remove_ops(batch, _SKIP)))


def is_valid(batch: CellBatch) -> Bool[np.ndarray, " batch"]:
    """Which cells obey the rules above."""
    inner = batch.nodes[:, 1:-1]
    ops = ((inner >= 0) & (inner < len(OPS))) | (inner == ABSENT)
    return ops.all(1) & graphs.well_formed(batch, min_edges=RULES.min_edges)


def mutate(key: Key[Array, ""], cell: Cell) -> Cell:
    """A valid cell one random edit away: an op changed, an edge flipped, or a node added."""
    rng = generator(key)
    return graphs.edited(cell, lambda: clean(_edit(rng, graphs.pack([cell]))), is_valid)


def _edit(rng: np.random.Generator, batch: CellBatch) -> CellBatch:
    nodes, adjacency = batch = _spread(rng, batch)
    node = rng.integers(1, MAX_NODES - 1)
    if nodes[0, node] == ABSENT:  # a new node between a random earlier and a random later one
        nodes[0, node] = rng.integers(0, len(OPS))
        present = np.flatnonzero(nodes[0] != ABSENT)
        adjacency[0, rng.choice(present[present < node]), node] = True
        adjacency[0, node, rng.choice(present[present > node])] = True
    elif rng.random() < 0.5:
        nodes[0, node] = rng.integers(0, _SKIP + 1)
    else:
        present = np.flatnonzero(nodes[0] != ABSENT)
        parent, child = np.sort(rng.choice(present, 2, replace=False))
        adjacency[0, parent, child] ^= True
    return batch


def _spread(rng: np.random.Generator, batch: CellBatch) -> CellBatch:
    """The one cell in `batch` with its absent nodes at random places, where new ones may grow."""
    nodes, adjacency = np.full_like(batch.nodes, ABSENT), np.zeros_like(batch.adjacency)
    (old,) = np.nonzero(batch.nodes[0] != ABSENT)
    inner = rng.choice(np.arange(1, MAX_NODES - 1), len(old) - 2, replace=False)
    new = np.array([0, *np.sort(inner), MAX_NODES - 1])
    nodes[0, new] = batch.nodes[0, old]
    adjacency[0, new[:, None], new] = batch.adjacency[0, old[:, None], old]
    return CellBatch(nodes, adjacency)


SPACE = Space("open", OPS, sample, mutate, is_valid, RULES)
