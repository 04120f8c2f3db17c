"""`nb101`: matrices, the rules of the benchmark by hand, and its table."""

import jax
import numpy as np
import pandas as pd
import pytest

from nasgen.spaces import graphs, nb101
from nasgen.types import Cell


def matrix_of_bits(num: int, bits: int) -> np.ndarray:
    """The matrix of a row of the table: bit `x + y (y - 1) / 2` is the edge from x to y."""
    matrix = np.zeros((num, num), int)
    for x, y in zip(*np.triu_indices(num, 1), strict=True):
        matrix[x, y] = bits >> (x + y * (y - 1) // 2) & 1
    return matrix


def test_cells_of_the_table_are_valid_and_no_two_alike(shared_data):
    table = pd.read_parquet(shared_data / "nb101.parquet", columns=["n", "adj_bits", "ops"])
    rows = pd.concat([table[table.n <= 4], table.sample(800, random_state=0)]).drop_duplicates()
    cells = [
        nb101.cell_from_matrix(matrix_of_bits(row.n, row.adj_bits), [int(c) for c in row.ops])
        for row in rows.itertuples()
    ]
    assert [len(cell.ops) + 2 for cell in cells] == list(rows.n)  # there was nothing to prune
    batch = graphs.pack(cells)
    assert nb101.SPACE.is_valid(batch).all()
    assert len(set(graphs.canonical_keys(batch))) == len(rows)


def test_nodes_on_no_path_vanish():
    matrix = matrix_of_bits(5, 0)
    for parent, child in [(0, 1), (1, 4), (0, 2), (3, 4)]:
        matrix[parent, child] = 1
    assert nb101.cell_from_matrix(matrix, [2, 0, 1]) == Cell((2,), ((0, 1), (1, 2)))


@pytest.mark.parametrize(
    ("cell", "valid"),
    [
        (Cell((), ((0, 1),)), True),
        (Cell((2,), ((0, 1), (1, 2))), True),
        (Cell((3,), ((0, 1), (1, 2))), False),  # no such op
        (Cell((0, 0), ((0, 1), (0, 2), (2, 3))), False),  # node 1 leads nowhere
        (Cell((0,) * 6, tuple((i, i + 1) for i in range(7))), False),  # six ops
        (Cell((0,) * 3, tuple((u, v) for v in range(5) for u in range(v))), False),  # ten edges
    ],
)
def test_rules_by_hand(cell, valid):
    assert nb101.SPACE.is_valid(graphs.pack([cell]))[0] == valid


@pytest.mark.parametrize(
    ("matrix", "ops", "message"),
    [
        (np.eye(2, k=1), [0], "`matrix` must be 0-1, strictly upper triangular, with 3 rows"),
        (np.eye(3), [0], "`matrix` must be 0-1, strictly upper triangular"),
        (2 * np.eye(3, k=1), [0], "`matrix` must be 0-1, strictly upper triangular"),
        (np.eye(3, k=1), [3], r"`ops` must be at most 5 numbers in 0\.\.2; got \[3\]"),
        (np.eye(8, k=1), [0] * 6, r"`ops` must be at most 5 numbers in 0\.\.2"),
        (np.zeros((3, 3)), [0], "`matrix` must lead from input to output with at most 9 edges"),
        (np.triu(np.ones((5, 5)), 1), [0] * 3, "`matrix` must lead from input to output"),
    ],
)
def test_other_matrices_are_refused(matrix, ops, message):
    with pytest.raises(ValueError, match=message):
        nb101.cell_from_matrix(matrix, ops)


def test_samples_and_mutants_come_in_every_size():
    cells = graphs.unpack(nb101.sample(jax.random.key(0), 2000))
    assert {len(cell.ops) for cell in cells} == set(range(6))
    assert max(len(cell.edges) for cell in cells) == nb101.MAX_EDGES
    keys = jax.random.split(jax.random.key(1), 300)
    grown = [
        len(nb101.mutate(key, cell).ops) - len(cell.ops)
        for key, cell in zip(keys, cells, strict=False)
    ]
    assert {-1, 0, 1} <= set(grown)
