"""The record that a search space of cells is: a vocabulary and a few plain functions."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Key

from nasgen.types import Cell, CellBatch, CellRules, Op


class Space(NamedTuple):
    """What cells may be built.

    ops: the vocabulary; a `CellBatch` and a `Cell` name ops by their index in it.
    sample: `(key, num) -> CellBatch` of valid cells.
    mutate: `(key, cell) -> Cell`, a valid cell that differs from the given one.
    is_valid: `(batch) -> bool [batch]`.
    rules: what `is_valid` demands, as numbers, for those who write cells.
    """

    name: str
    ops: tuple[Op, ...]
    sample: Callable[[Key[Array, ""], int], CellBatch]
    mutate: Callable[[Key[Array, ""], Cell], Cell]
    is_valid: Callable[[CellBatch], Bool[np.ndarray, " batch"]]
    rules: CellRules
