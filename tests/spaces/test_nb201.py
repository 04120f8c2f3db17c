"""`nb201`: digits, names and wiring of the benchmark's 15,625 cells."""

import itertools

import numpy as np
import pandas as pd
import pytest

from nasgen.spaces import graphs, nb201
from nasgen.types import Cell

DIGITS = list(itertools.product(range(5), repeat=6))


def test_all_cells_are_valid_and_differ_as_graphs():
    batch = graphs.pack([nb201.cell(digits) for digits in DIGITS])
    assert nb201.SPACE.is_valid(batch).all()
    assert len(set(graphs.canonical_keys(batch))) == len(DIGITS) == 15_625


def test_digits_and_names_round_trip():
    cells = [nb201.cell(digits) for digits in DIGITS[::7]]
    assert [nb201.digits(cell) for cell in cells] == DIGITS[::7]
    names = [nb201.to_string(cell) for cell in cells]
    assert [nb201.from_string(name) for name in names] == cells


def test_names_are_those_of_the_table(shared_data):
    table = pd.read_parquet(shared_data / "nb201.parquet", columns=["arch_str", "ops"])
    cells = [nb201.cell([int(digit) for digit in ops]) for ops in table.ops]
    assert [nb201.to_string(cell) for cell in cells] == list(table.arch_str)


def test_wiring_by_hand():
    # Edges 0->1, 0->2, 1->2, 0->3, 1->3, 2->3 become nodes 1..6; 0 is the input, 7 the output.
    cell = nb201.from_string(
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_3x3~0|none~1|none~2|"
    )
    parents = {1: {0}, 2: {0}, 3: {1}, 4: {0}, 5: {1}, 6: {2, 3}, 7: {4, 5, 6}}
    assert cell.ops == (4, 2, 1, 3, 0, 0)
    assert cell.edges == tuple(sorted((u, v) for v, us in parents.items() for u in us))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "|none~0|+|none~0|none~1|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2",
        "|none~0|+|none~0|none~0|+|none~0|none~1|none~2|",
        "|conv~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|\n",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=r"`name` must read .* each op of none, skip_connect"):
        nb201.from_string(name)


def test_other_digits_and_cells_are_refused():
    for digits in [(), (0,) * 5, (0,) * 7, (0, 0, 0, 0, 0, 5), (-1, 0, 0, 0, 0, 0)]:
        with pytest.raises(ValueError, match=r"`digits` must be 6 numbers in 0\.\.4; got"):
            nb201.cell(digits)
    with pytest.raises(ValueError, match="`cell` must have the edges"):
        nb201.digits(Cell((0,), ((0, 1), (1, 2))))


def test_cells_with_another_wiring_or_op_are_not_valid():
    batch = graphs.pack([nb201.cell((3,) * 6)] * 4)
    batch.adjacency[1, 0, 3] = True
    batch.nodes[2, 4] = 5
    batch.nodes[3, 4] = -3
    np.testing.assert_array_equal(nb201.SPACE.is_valid(batch), [True, False, False, False])
