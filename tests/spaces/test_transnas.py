"""`transnas_micro`: its digits mean what the published accuracies say that they mean."""

import ast
import itertools

import numpy as np
import pandas as pd
import pytest

from nasgen.spaces import graphs, transnas
from nasgen.types import Op


def test_all_cells_are_valid_and_differ_as_graphs():
    digits = list(itertools.product(range(4), repeat=6))
    cells = [transnas.cell(d) for d in digits]
    batch = graphs.pack(cells)
    assert [transnas.digits(cell) for cell in cells] == digits
    assert transnas.SPACE.is_valid(batch).all()
    assert len(set(graphs.canonical_keys(batch))) == len(digits) == 4096


def test_cells_without_a_path_are_those_at_chance(shared_data):
    columns = ["arch", "val_class_scene"]
    table = pd.read_parquet(shared_data / "transnas101_micro.parquet", columns=columns)
    cells = [transnas.cell(ast.literal_eval(arch)) for arch in table.arch]
    zero = transnas.OPS.index(Op("zero", 0))
    nodes, adjacency = graphs.pack(cells)
    cut = adjacency & (nodes != zero)[:, :, None] & (nodes != zero)[:, None]
    connected = graphs.prune(graphs.CellBatch(nodes, cut)).adjacency.any((1, 2))
    accuracy = table.val_class_scene.to_numpy()
    assert (~connected).sum() == 169
    assert np.ptp(accuracy[~connected]) == 0
    assert accuracy[connected].min() > 2 * accuracy[~connected].max()


def test_other_digits_are_refused():
    with pytest.raises(ValueError, match=r"`digits` must be 6 numbers in 0\.\.3; got"):
        transnas.cell((4, 0, 0, 0, 0, 0))
