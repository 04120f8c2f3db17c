"""Every space of the registry: sampling, mutation, packing; then `open`, its rules by hand."""

import collections

import jax
import numpy as np
import pytest

from nasgen.spaces import SPACES, formats, graphs
from nasgen.types import MAX_OP_NODES, Cell, Op


@pytest.fixture(params=SPACES.values(), ids=SPACES.keys())
def space(request):
    return request.param


@pytest.mark.parametrize("num", [0, 1, 7, 3000])
def test_samples_are_valid_and_as_many_as_asked(space, num):
    batch = space.sample(jax.random.key(num), num)
    assert len(batch.nodes) == len(batch.adjacency) == num
    valid = space.is_valid(batch)
    assert valid.shape == (num,) and valid.all()


def test_sampling_is_pure_in_the_key(space):
    once, again, other = (space.sample(jax.random.key(seed), 500) for seed in (3, 3, 4))
    np.testing.assert_array_equal(once.nodes, again.nodes)
    np.testing.assert_array_equal(once.adjacency, again.adjacency)
    assert (once.nodes != other.nodes).any(1).mean() > 0.9


def test_samples_hold_every_op_and_size(space):
    cells = graphs.unpack(space.sample(jax.random.key(5), 3000))
    assert {op for cell in cells for op in cell.ops} == set(range(len(space.ops)))
    assert len(set(graphs.canonical_keys(graphs.pack(cells)))) > 2000


def test_a_mutant_is_a_valid_cell_and_another_one(space):
    cells = graphs.unpack(space.sample(jax.random.key(9), 60))
    keys = jax.random.split(jax.random.key(10), len(cells))
    mutants = [space.mutate(key, cell) for key, cell in zip(keys, cells, strict=True)]
    assert mutants == [space.mutate(key, cell) for key, cell in zip(keys, cells, strict=True)]
    before, after = graphs.pack(cells), graphs.pack(mutants)
    assert space.is_valid(after).all() and graphs.unpack(after) == mutants
    pairs = zip(graphs.canonical_keys(before), graphs.canonical_keys(after), strict=True)
    assert all(one != other for one, other in pairs)


def test_cells_survive_packing_and_json(space):
    batch = space.sample(jax.random.key(11), 300)
    cells = graphs.unpack(batch)
    again = graphs.pack(cells)
    np.testing.assert_array_equal(again.nodes, batch.nodes)
    np.testing.assert_array_equal(again.adjacency, batch.adjacency)
    for cell in cells:
        if cell.ops:
            assert formats.cell_from_json(formats.cell_to_json(cell, space), space) == cell


def test_open_vocabulary_by_hand():
    # Nine kinds by three kernels; with skip_connect the 28 choices a node of the paper.
    ops = SPACES["open"].ops
    assert len(ops) == len(set(ops)) == 27
    assert {op.kernel for op in ops} == {1, 3, 5} and Op("mbconv_6", 5) in ops
    cells = graphs.unpack(SPACES["open"].sample(jax.random.key(6), 3000))
    assert {len(cell.ops) for cell in cells} == set(range(1, MAX_OP_NODES + 1))
    assert min(len(cell.edges) for cell in cells) == 3


@pytest.mark.parametrize(
    ("cell", "valid"),
    [
        (Cell((0,), ((0, 1), (0, 2), (1, 2))), True),
        (Cell((0, 26), ((0, 1), (1, 2), (2, 3))), True),
        (Cell((0,), ((0, 1), (1, 2))), False),  # two edges
        (Cell((0, 1), ((0, 1), (0, 3), (1, 3), (0, 2))), False),  # node 2 leads nowhere
        (Cell((0, 1), ((0, 1), (0, 3), (1, 3), (2, 3))), False),  # node 2 hangs on nothing
        (Cell((0, 27), ((0, 1), (1, 2), (2, 3))), False),  # 27 is the skip of raw draws
        (Cell((0, -2), ((0, 1), (1, 2), (2, 3))), False),  # an output among the ops
    ],
)
def test_open_rules_by_hand(cell, valid):
    assert SPACES["open"].is_valid(graphs.pack([cell]))[0] == valid


@pytest.fixture(scope="module")
def mutants():
    """Cells of `open` and a mutant of each, as `[(cell, mutant), ...]`."""
    space = SPACES["open"]
    cells = graphs.unpack(space.sample(jax.random.key(7), 600))
    keys = jax.random.split(jax.random.key(8), len(cells))
    return [(cell, space.mutate(key, cell)) for cell, key in zip(cells, keys, strict=True)]


def test_mutants_are_valid_and_differ(mutants):
    before, after = (graphs.pack(cells) for cells in zip(*mutants, strict=True))
    assert SPACES["open"].is_valid(after).all()
    pairs = zip(graphs.canonical_keys(before), graphs.canonical_keys(after), strict=True)
    assert all(one != other for one, other in pairs)


def test_mutation_makes_every_kind_of_edit(mutants):
    kinds = collections.Counter()
    for cell, mutant in mutants:
        num, new = len(cell.ops), len(mutant.ops)
        kinds["op changed"] += cell.edges == mutant.edges and num == new
        kinds["edge added"] += cell.ops == mutant.ops and set(cell.edges) < set(mutant.edges)
        kinds["edge removed"] += cell.ops == mutant.ops and set(cell.edges) > set(mutant.edges)
        kinds["node added"] += new == num + 1
        # A new node may stand before others, not only last.
        kinds["node added within"] += new == num + 1 and mutant.ops[:num] != cell.ops
        kinds["node removed"] += new < num
    assert min(kinds.values()) >= 10, kinds


def test_mutation_is_one_edit(mutants):
    for cell, mutant in mutants:
        if len(cell.ops) == len(mutant.ops) and cell.edges == mutant.edges:
            assert sum(a != b for a, b in zip(cell.ops, mutant.ops, strict=True)) == 1
        elif cell.ops == mutant.ops:
            assert len(set(cell.edges) ^ set(mutant.edges)) == 1
        else:  # a node came or went, with whatever that cut off
            assert len(mutant.ops) <= len(cell.ops) + 1 and len(cell.ops) != len(mutant.ops)


def test_mutation_is_pure_in_the_key(mutants):
    mutate, (cell, _) = SPACES["open"].mutate, mutants[0]
    draws = [mutate(jax.random.key(seed), cell) for seed in range(20)]
    assert draws == [mutate(jax.random.key(seed), cell) for seed in range(20)]
    assert len(set(draws)) > 10


def test_mutation_leaves_the_smallest_and_the_fullest_cell():
    space = SPACES["open"]
    smallest = Cell((0,), ((0, 1), (0, 2), (1, 2)))
    nodes = range(MAX_OP_NODES + 2)
    fullest = Cell((5,) * MAX_OP_NODES, tuple((u, v) for u in nodes for v in nodes if u < v))
    for cell in (smallest, fullest):
        for seed in range(30):
            assert space.is_valid(graphs.pack([space.mutate(jax.random.key(seed), cell)]))[0]
