"""Padded cell graphs: skip removal, pruning, packing, and canonical keys that are exact."""

import collections
import itertools

import jax
import networkx as nx
import numpy as np
import pytest

from nasgen.spaces import SPACES, graphs
from nasgen.types import ABSENT, INPUT, MAX_NODES, OUTPUT, Cell, CellBatch

OPEN = SPACES["open"]
SKIP = 99  # an op code of these tests only


def clean(cell: Cell) -> Cell:
    """`cell` without its SKIP nodes and without nodes that lie on no path."""
    batch = graphs.prune(graphs.remove_ops(graphs.pack([cell]), SKIP))
    return graphs.unpack(graphs.compact(batch))[0]


def few_kinds(batch: CellBatch) -> CellBatch:
    """The same graphs with two kinds of op instead of 27: far more of them are nearly alike."""
    return CellBatch(np.where(batch.nodes >= 0, batch.nodes % 2, batch.nodes), batch.adjacency)


def permuted(batch: CellBatch, rng: np.random.Generator) -> CellBatch:
    """Every cell's op nodes (and absent ones) in any order, most of them not topological."""
    inner = np.argsort(rng.random((len(batch.nodes), MAX_NODES - 2)), axis=1) + 1
    order = np.pad(inner, ((0, 0), (1, 1)))
    order[:, -1] = MAX_NODES - 1
    rows = np.arange(len(order))[:, None]
    adjacency = batch.adjacency[rows[:, :, None], order[:, :, None], order[:, None, :]]
    return CellBatch(batch.nodes[rows, order], adjacency)


def digraph(batch: CellBatch, index: int) -> nx.DiGraph:
    graph = nx.DiGraph()
    for v, op in enumerate(batch.nodes[index].tolist()):
        if op != ABSENT:
            graph.add_node(v, op=op)
    graph.add_edges_from(zip(*map(list, np.nonzero(batch.adjacency[index])), strict=True))
    return graph


def isomorphic(one: nx.DiGraph, other: nx.DiGraph) -> bool:
    return nx.is_isomorphic(one, other, node_match=lambda a, b: a["op"] == b["op"])


def invariants(batch: CellBatch) -> list[bytes]:
    """The multiset of (op, in-degree, out-degree): equal for isomorphic cells, and not only."""
    rows = np.stack([batch.nodes, batch.adjacency.sum(1), batch.adjacency.sum(2)], -1)
    codes = (rows.astype(np.int64) + 4) @ [10_000, 100, 1]
    return [row.tobytes() for row in np.sort(codes, axis=1)]


@pytest.fixture(scope="module")
def sample() -> CellBatch:
    return OPEN.sample(jax.random.key(0), 100_000)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        # input -> skip -> op -> output: the op hangs on the input.
        (Cell((SKIP, 5), ((0, 1), (1, 2), (2, 3))), Cell((5,), ((0, 1), (1, 2)))),
        # Two parents and two children: each parent is wired to each child.
        (
            Cell((1, 2, SKIP, 3), ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (3, 5), (4, 5))),
            Cell((1, 2, 3), ((0, 1), (0, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4))),
        ),
        # Two skips in a row, beside an edge that is there already.
        (
            Cell((1, SKIP, SKIP), ((0, 1), (0, 4), (0, 2), (1, 4), (2, 3), (3, 4))),
            Cell((1,), ((0, 1), (0, 2), (1, 2))),
        ),
        # Nothing but skips: the bare edge from input to output.
        (Cell((SKIP, SKIP), ((0, 1), (1, 2), (2, 3))), Cell((), ((0, 1),))),
        # Op 1 hangs on nothing, op 2 leads nowhere, and so does 4 behind it; op 3 stays.
        (
            Cell((1, 2, 3, 4), ((1, 5), (0, 2), (0, 3), (3, 5), (0, 5), (2, 4))),
            Cell((3,), ((0, 1), (0, 2), (1, 2))),
        ),
        # A skip that leads nowhere wires nothing.
        (Cell((SKIP, 7), ((0, 1), (0, 2), (2, 3))), Cell((7,), ((0, 1), (1, 2)))),
    ],
)
def test_cleaning_by_hand(cell, expected):
    assert clean(cell) == expected


def test_pack_by_hand_and_back(sample):
    nodes, adjacency = graphs.pack([Cell((4, 9), ((0, 1), (0, 2), (1, 3), (2, 3)))])
    assert nodes.tolist() == [[INPUT, 4, 9, *[ABSENT] * 4, OUTPUT]]
    assert np.argwhere(adjacency[0]).tolist() == [[0, 1], [0, 2], [1, 7], [2, 7]]

    part = graphs.take(sample, slice(2000))
    cells = graphs.unpack(part)
    again = graphs.pack(cells)
    np.testing.assert_array_equal(again.nodes, part.nodes)
    np.testing.assert_array_equal(again.adjacency, part.adjacency)
    # Absent nodes may lie anywhere: they vanish, and the order of the others stays.
    rng = np.random.default_rng(0)
    scattered = permuted(part, rng)
    for cell, ops in zip(graphs.unpack(scattered), scattered.nodes[:, 1:-1], strict=True):
        assert cell.ops == tuple(ops[ops != ABSENT])
    assert graphs.unpack(graphs.compact(scattered)) == graphs.unpack(scattered)


def test_take_and_concatenate(sample):
    parts = [graphs.take(sample, slice(0, 3)), graphs.pack([]), graphs.take(sample, [5, 4])]
    whole = graphs.concatenate(parts)
    assert graphs.unpack(whole) == graphs.unpack(graphs.take(sample, [0, 1, 2, 5, 4]))


def test_cleaning_is_idempotent_and_makes_well_formed_graphs():
    rng = np.random.default_rng(1)
    nodes = rng.integers(0, 4, (5000, MAX_NODES)).astype(np.int8)
    nodes[:, 0], nodes[:, -1] = INPUT, OUTPUT
    adjacency = np.triu(rng.random((5000, MAX_NODES, MAX_NODES)) < 0.5, 1)
    raw = CellBatch(nodes, adjacency)
    once = graphs.prune(graphs.remove_ops(raw, 3))
    twice = graphs.prune(graphs.remove_ops(once, 3))
    assert not (once.nodes == 3).any()
    np.testing.assert_array_equal(once.nodes, twice.nodes)
    np.testing.assert_array_equal(once.adjacency, twice.adjacency)
    connected = once.adjacency.any((1, 2))  # else the input does not reach the output at all
    np.testing.assert_array_equal(graphs.well_formed(once, min_edges=1), connected)
    assert graphs.well_formed(raw, min_edges=1).mean() < 0.5 < connected.mean() < 1

    pruned = graphs.prune(raw)
    for i in range(300):  # what lies on a path, according to networkx
        graph = digraph(raw, i)
        kept = (nx.descendants(graph, 0) | {0}) & (nx.ancestors(graph, 7) | {7})
        assert set(graph.subgraph(kept).edges) == set(digraph(pruned, i).edges)
        assert (pruned.nodes[i, 1:-1] != ABSENT).sum() == len(kept - {0, 7})


def test_a_back_edge_is_not_well_formed():
    batch = graphs.pack([Cell((1, 2), ((0, 1), (1, 2), (2, 3)))])
    assert graphs.well_formed(batch, min_edges=3)[0] and not graphs.well_formed(batch, min_edges=4)
    batch.adjacency[0, 2, 1] = True
    assert not graphs.well_formed(batch, min_edges=3)[0]


@pytest.mark.parametrize("kinds", ["all", "two"])
def test_keys_are_invariant_under_relabelling(sample, kinds):
    part = graphs.take(sample, slice(20_000))
    part = few_kinds(part) if kinds == "two" else part
    keys, rng = graphs.canonical_keys(part), np.random.default_rng(2)
    topological = graphs.random_order(rng, part)
    assert graphs.well_formed(topological, min_edges=3).all()
    assert (topological.nodes != part.nodes).any(1).mean() > 0.15
    any_order = permuted(part, rng)
    assert np.tril(any_order.adjacency).any((1, 2)).mean() > 0.5  # labels need not be topological
    assert graphs.canonical_keys(topological) == keys
    assert graphs.canonical_keys(any_order) == keys


def test_canonical_order_is_the_same_graph(sample):
    part = graphs.take(few_kinds(sample), slice(500))
    ordered = graphs.canonicalize(permuted(part, np.random.default_rng(3)))
    assert graphs.well_formed(ordered, min_edges=3).all()
    for i in range(500):
        assert isomorphic(digraph(part, i), digraph(ordered, i))


@pytest.mark.parametrize("kinds", ["all", "two"])
def test_keys_are_equal_exactly_for_isomorphic_cells(sample, kinds):
    # All pairs that share a key, and a random part of those that share the invariants only: with
    # two kinds of op there are thousands of the latter.
    batch = sample if kinds == "all" else graphs.take(few_kinds(sample), slice(20_000))
    keys, rng = graphs.canonical_keys(batch), np.random.default_rng(4)
    by_invariant = collections.defaultdict(lambda: collections.defaultdict(list))
    for index, (invariant, key) in enumerate(zip(invariants(batch), keys, strict=True)):
        by_invariant[invariant][key].append(index)
    assert sum(map(len, by_invariant.values())) == len(set(keys))  # a key has one invariant
    same, different = [], []
    for groups in by_invariant.values():
        first = [members[0] for members in groups.values()]
        same += [(members[0], other) for members in groups.values() for other in members[1:]]
        different += itertools.combinations(first[:20], 2)
    assert len(same) > 3000 and len(different) > 800
    for pairs, expected in ((same, True), (different, False)):
        for i in rng.permutation(len(pairs))[: 10_000 if expected else 3000]:
            one, other = (digraph(batch, member) for member in pairs[i])
            assert isomorphic(one, other) == expected, pairs[i]
