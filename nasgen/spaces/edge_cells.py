"""Cells whose ops sit on the edges of one fixed graph, as cells whose ops are nodes.

Tabular spaces put an op on every edge of a small complete DAG; an architecture is a row of digits,
one an edge. Here each edge becomes an op node (the line graph): the node of edge i -> j has as
parents the nodes of the edges into i, or the cell's input where i is the first vertex; those of the
edges into the last vertex feed the output. All cells of such a space share this wiring.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Array, Bool, Int, Key

from nasgen.keys import generator
from nasgen.spaces import graphs
from nasgen.spaces.space import Space
from nasgen.types import Cell, CellBatch, CellRules, Op

Edges = tuple[tuple[int, int], ...]


def line_graph(graph: Edges) -> Edges:
    """The wiring `(parent, child)` of the op nodes `1, 2, ...`, one for each edge of `graph`."""
    first, last = min(i for i, _ in graph), max(j for _, j in graph)
    wires = [(0, n) for n, (i, _) in enumerate(graph, start=1) if i == first]
    for m, (_, j) in enumerate(graph, start=1):
        wires += [(m, n) for n, (i, _) in enumerate(graph, start=1) if i == j]
        wires += [(m, len(graph) + 1)] if j == last else []
    return tuple(sorted(wires))


def cell_of(digits: Sequence[int], *, wiring: Edges, num_ops: int) -> Cell:
    """The cell whose edges hold these ops. Raises ValueError for digits that name no op."""
    ops, num = tuple(map(int, digits)), wiring[-1][1] - 1
    if len(ops) != num or not all(0 <= op < num_ops for op in ops):
        raise ValueError(f"`digits` must be {num} numbers in 0..{num_ops - 1}; got {ops}.")
    return Cell(ops, wiring)


def digits_of(cell: Cell, *, wiring: Edges) -> tuple[int, ...]:
    """The op of each edge. Raises ValueError for a cell that is wired in another way."""
    if cell.edges != wiring:
        raise ValueError(f"`cell` must have the edges {wiring}; got {cell.edges}.")
    return cell.ops


def make_space(name: str, ops: tuple[Op, ...], wiring: Edges) -> Space:
    """The space of all cells with this wiring: uniform samples; a mutant differs in one op."""
    options = dict(wiring=wiring, num_ops=len(ops))
    num = wiring[-1][1] - 1
    return Space(
        name,
        ops,
        partial(_sample, **options),
        partial(_mutate, num_ops=len(ops)),
        partial(_is_valid, **options),
        CellRules(len(ops), num, num, len(wiring), len(wiring), wiring),
    )


def _sample(key: Key[Array, ""], num: int, *, wiring: Edges, num_ops: int) -> CellBatch:
    digits = generator(key).integers(0, num_ops, (num, wiring[-1][1] - 1))
    return _batch(digits, wiring)


def _batch(digits: Int[np.ndarray, "batch edges"], wiring: Edges) -> CellBatch:
    one = graphs.pack([Cell((0,) * digits.shape[1], wiring)])
    nodes, adjacency = (np.repeat(part, len(digits), 0) for part in one)
    nodes[:, 1 : 1 + digits.shape[1]] = digits
    return CellBatch(nodes, adjacency)


def _mutate(key: Key[Array, ""], cell: Cell, *, num_ops: int) -> Cell:
    rng = generator(key)
    ops = list(cell.ops)
    place = rng.integers(len(ops))
    ops[place] = int(ops[place] + rng.integers(1, num_ops)) % num_ops
    return cell._replace(ops=tuple(ops))


def _is_valid(batch: CellBatch, *, wiring: Edges, num_ops: int) -> Bool[np.ndarray, " batch"]:
    num = wiring[-1][1] - 1
    inner = batch.nodes[:, 1 : 1 + num]
    same = _batch(np.where((inner >= 0) & (inner < num_ops), inner, 0), wiring)
    wired = (batch.adjacency == same.adjacency).all((1, 2))
    return wired & (batch.nodes == same.nodes).all(1)
