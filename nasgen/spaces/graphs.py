"""Small DAGs as padded arrays: packing, pruning, skip removal, canonical order and keys.

All functions take and return a whole `CellBatch` (nodes `[batch, 8]`, adjacency `[batch, 8, 8]`)
and are vectorised over it with NumPy. Node 0 is the input, node 7 the output; adjacency is
strictly upper triangular. None of them knows what an op means.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Int, UInt

from nasgen.types import ABSENT, INPUT, MAX_NODES, MAX_OP_NODES, OUTPUT, Cell, CellBatch

_LAST = MAX_NODES - 1
_OP_NODES = range(1, _LAST)


def pack(cells: Sequence[Cell]) -> CellBatch:
    """Cells to padded arrays; op nodes come first, absent nodes stand before the output."""
    nodes = np.full((len(cells), MAX_NODES), ABSENT, dtype=np.int8)
    adjacency = np.zeros((len(cells), MAX_NODES, MAX_NODES), dtype=bool)
    nodes[:, 0], nodes[:, _LAST] = INPUT, OUTPUT
    for b, (ops, edges) in enumerate(cells):
        nodes[b, 1 : 1 + len(ops)] = ops
        output = len(ops) + 1
        for parent, child in edges:
            adjacency[b, parent, _LAST if child == output else child] = True
    return CellBatch(nodes, adjacency)


def unpack(batch: CellBatch) -> list[Cell]:
    """Padded arrays to cells; absent nodes vanish, the order of the others is kept."""
    nodes, adjacency = map(np.asarray, batch)
    present = nodes != ABSENT
    place = np.cumsum(present, 1) - 1
    owner, parents, children = np.nonzero(adjacency & present[:, :, None] & present[:, None])
    edges = list(zip(place[owner, parents].tolist(), place[owner, children].tolist(), strict=True))
    inner = present[:, 1:_LAST]
    ops = nodes[:, 1:_LAST][inner].tolist()
    first_op = np.concatenate([[0], np.cumsum(inner.sum(1))]).tolist()
    first_edge = np.searchsorted(owner, np.arange(len(nodes) + 1)).tolist()
    return [
        Cell(tuple(ops[i:j]), tuple(edges[k:m]))
        for (i, j), (k, m) in zip(
            itertools.pairwise(first_op), itertools.pairwise(first_edge), strict=True
        )
    ]


def concatenate(batches: Sequence[CellBatch]) -> CellBatch:
    """One batch of all cells, in order."""
    return CellBatch(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))


def take(batch: CellBatch, index) -> CellBatch:
    """The cells at `index` (anything NumPy can index the first axis with)."""
    return CellBatch(batch.nodes[index], batch.adjacency[index])


def remove_ops(batch: CellBatch, op: int) -> CellBatch:
    """Drops every node of this op and wires its parents to its children (skip connections)."""
    nodes, adjacency = batch.nodes.copy(), batch.adjacency.copy()
    for v in _OP_NODES:
        drop = nodes[:, v] == op
        bypass = adjacency[:, :, v, None] & adjacency[:, None, v, :]
        adjacency |= bypass & drop[:, None, None]
        _clear_node(nodes, adjacency, v, drop)
    return CellBatch(nodes, adjacency)


def prune(batch: CellBatch) -> CellBatch:
    """Drops every op node that the input does not reach or that does not reach the output."""
    nodes, adjacency = batch.nodes.copy(), batch.adjacency.copy()
    forward = np.zeros(nodes.shape, bool)
    backward = np.zeros(nodes.shape, bool)
    forward[:, 0], backward[:, _LAST] = True, True
    for v in range(1, MAX_NODES):
        forward[:, v] = (adjacency[:, :, v] & forward).any(1)
    for v in range(_LAST - 1, -1, -1):
        backward[:, v] = (adjacency[:, v, :] & backward).any(1)
    for v in _OP_NODES:
        _clear_node(nodes, adjacency, v, ~(forward[:, v] & backward[:, v]))
    return CellBatch(nodes, adjacency)


def _clear_node(nodes, adjacency, v: int, drop: Bool[np.ndarray, " batch"]) -> None:
    adjacency[drop, v, :] = False
    adjacency[drop, :, v] = False
    nodes[drop, v] = ABSENT


def compact(batch: CellBatch) -> CellBatch:
    """Moves absent nodes behind the present ones, whose order is kept."""
    absent = batch.nodes == ABSENT
    return _reorder(batch, np.argsort(absent[:, 1:_LAST], axis=1, kind="stable") + 1)


def _reorder(batch: CellBatch, op_order: Int[np.ndarray, "batch 6"]) -> CellBatch:
    size = len(batch.nodes)
    ends = np.zeros((size, 1), op_order.dtype)
    order = np.concatenate([ends, op_order, ends + _LAST], axis=1)
    nodes = np.take_along_axis(batch.nodes, order, 1)
    rows = np.arange(size)[:, None, None]
    return CellBatch(nodes, batch.adjacency[rows, order[:, :, None], order[:, None, :]])


def well_formed(batch: CellBatch, *, min_edges: int) -> Bool[np.ndarray, " batch"]:
    """Which cells are DAGs in node order with every node on a path from input to output."""
    pruned = prune(batch)
    upper = ~np.tril(batch.adjacency).any((1, 2))
    same = (pruned.nodes == batch.nodes).all(1) & (pruned.adjacency == batch.adjacency).all((1, 2))
    ends = (batch.nodes[:, 0] == INPUT) & (batch.nodes[:, _LAST] == OUTPUT)
    return upper & same & ends & (batch.adjacency.sum((1, 2)) >= min_edges)


def canonicalize(batch: CellBatch) -> CellBatch:
    """The same graphs with their nodes in an order that isomorphic graphs share.

    Nodes are coloured by hashing op, ancestors and descendants until nothing more can be told
    apart, then sorted by depth and colour. Nodes that are left tied are tried in every order and
    the smallest adjacency wins, so the result is exact: no hash collision can merge two graphs.
    """
    colours, depth = _colours(batch), depths(batch)
    absent = batch.nodes[:, 1:_LAST] == ABSENT
    keys = (colours[:, 1:_LAST], depth[:, 1:_LAST], absent)
    order = np.lexsort(keys, axis=1)
    ordered = _reorder(batch, order + 1)
    sorted_keys = [np.take_along_axis(k, order, 1) for k in keys]
    present = ~sorted_keys[2][:, 1:]
    tied = present & (sorted_keys[0][:, 1:] == sorted_keys[0][:, :-1])
    tied &= sorted_keys[1][:, 1:] == sorted_keys[1][:, :-1]
    for b in np.flatnonzero(tied.any(1)):
        ordered.adjacency[b], ordered.nodes[b] = _smallest(
            ordered.adjacency[b], ordered.nodes[b], tied[b]
        )
    return ordered


def _colours(batch: CellBatch) -> UInt[np.ndarray, "batch nodes"]:
    return rounds_of_colours(batch, MAX_NODES)[-1]


def rounds_of_colours(batch: CellBatch, num_rounds: int) -> list[UInt[np.ndarray, "batch nodes"]]:
    """Colours of nodes by Weisfeiler and Lehman: hashes of ops, then of own, parents' and
    children's colours, so many times; equal where so much of what surrounds two nodes is."""
    colours = _mix(batch.nodes.astype(np.int64).astype(np.uint64) + np.uint64(17))
    down = batch.adjacency.astype(np.uint64)
    up, rounds = down.transpose(0, 2, 1), [colours]
    for _ in range(num_rounds):
        parents = np.einsum("bij,bj->bi", up, _mix(colours + np.uint64(0x51)))
        children = np.einsum("bij,bj->bi", down, _mix(colours + np.uint64(0xA7)))
        colours = _mix(colours * np.uint64(3) + _mix(parents) + _mix(children + np.uint64(29)))
        rounds.append(colours)
    return rounds


def _mix(x: np.ndarray) -> np.ndarray:
    """The SplitMix64 finaliser: a bijection of 64-bit words that spreads every bit."""
    x = (x + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def depths(batch: CellBatch) -> Int[np.ndarray, "batch nodes"]:
    """Longest path from the input, by repeated relaxation (any node order)."""
    depth = np.zeros(batch.nodes.shape, np.int64)
    for _ in range(MAX_NODES):
        depth = (batch.adjacency * (depth[:, :, None] + 1)).max(1)
    return depth


def _smallest(adjacency, nodes, tied) -> tuple[np.ndarray, np.ndarray]:
    groups, current = [], [1]
    for position, same in enumerate(tied, start=2):
        if same:
            current.append(position)
        else:
            groups.append(current)
            current = [position]
    groups.append(current)
    candidates = []
    for choice in itertools.product(*map(itertools.permutations, groups)):
        order = [0, *itertools.chain.from_iterable(choice), _LAST]
        candidates.append((adjacency[np.ix_(order, order)], nodes[order]))
    return min(candidates, key=lambda pair: (pair[1].tobytes(), pair[0].tobytes()))


def canonical_keys(batch: CellBatch) -> list[bytes]:
    """A short key for each cell, equal exactly for isomorphic cells (same ops, same edges).

    The key spells out the canonical graph, so two cells that share a key *are* isomorphic.
    """
    nodes, adjacency = canonicalize(batch)
    upper = adjacency[:, *np.triu_indices(MAX_NODES, 1)]
    packed = np.packbits(upper, axis=1)
    return [n.tobytes() + a.tobytes() for n, a in zip(nodes[:, 1:_LAST], packed, strict=True)]


@lru_cache(2**17)
def canonical_key(cell: Cell) -> bytes:
    """The key of one cell, kept: a search asks for those of its best again and again."""
    return canonical_keys(pack([cell]))[0]


def edited(
    cell: Cell,
    edit: Callable[[], CellBatch],
    is_valid: Callable[[CellBatch], Bool[np.ndarray, " batch"]],
) -> Cell:
    """The first of the cells that `edit` draws, one at a time, that is valid and another graph."""
    while True:
        drawn = edit()
        if is_valid(drawn)[0]:
            (found,) = unpack(drawn)
            if canonical_key(found) != canonical_key(cell):
                return found


def new_rows(batch: CellBatch, seen: set[bytes]) -> Int[np.ndarray, " rows"]:
    """The first of each cell that `seen`, a set of canonical keys, lacks; their keys join it."""
    keys = canonical_keys(batch)
    return np.array([i for i, k in enumerate(keys) if k not in seen and not seen.add(k)], int)


def num_ops(batch: CellBatch) -> Int[np.ndarray, " batch"]:
    """Op nodes of each cell."""
    return (batch.nodes >= 0).sum(1)


def random_order(rng: np.random.Generator, batch: CellBatch) -> CellBatch:
    """Relabels every cell's op nodes at random, those of equal depth among themselves.

    The order is by longest path from the input, thus topological: the result is well formed again.
    """
    depth = depths(batch)[:, 1:_LAST].astype(float)
    depth[batch.nodes[:, 1:_LAST] == ABSENT] = np.inf
    noise = rng.random((len(batch.nodes), MAX_OP_NODES))
    return _reorder(batch, np.lexsort((noise, depth), axis=1) + 1)
