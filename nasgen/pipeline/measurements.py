"""Conditions that a user measured: an accuracy, a latency, anything with a number for some cells.

They join the four of `labels.CONDITIONS` when a generator of cells is pretrained, so that cells can
be asked for by them. The file is an .npz of plain arrays: `nodes` and `adjacency` of the cells
(`types.CellBatch`), and one array of numbers for each condition under its name; nan where a cell
was not measured.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from nasgen.pipeline.config import UserError
from nasgen.pipeline.labels import CONDITIONS
from nasgen.spaces import Space, graphs
from nasgen.types import Cell, CellBatch

_CELLS = CellBatch._fields
_TAKEN = (*_CELLS, "cluster", *(name.removeprefix("log_") for name in CONDITIONS), *CONDITIONS)


class Measurements(NamedTuple):
    """values: `[cells, names]`, nan where a cell was not measured."""

    cells: CellBatch
    names: tuple[str, ...]
    values: Float[np.ndarray, "cells names"]


def save_measurements(
    path: str | os.PathLike,
    cells: Sequence[Cell],
    values: Mapping[str, Sequence[float] | np.ndarray],
) -> None:
    """Writes the file that `config.measured` of a pretrain_cells run names.

    values: by name of the condition a number for each cell, nan where there is none. Raises
    ValueError for a name that is taken and for numbers that are not as many as the cells."""
    for name, numbers in values.items():
        if name in _TAKEN or not name.isidentifier():
            raise ValueError(
                f"`values` must have names like `accuracy`, none of {', '.join(_TAKEN)}; "
                f"got {name!r}."
            )
        if np.shape(numbers) != (len(cells),):
            raise ValueError(
                f"`values` must have a number for each of the {len(cells)} cells; {name} has the "
                f"shape {np.shape(numbers)}."
            )
    columns = {name: np.asarray(numbers, np.float64) for name, numbers in values.items()}
    np.savez(path, **graphs.pack(cells)._asdict(), **columns)


def names_of(path: str | None) -> tuple[str, ...]:
    """The conditions that a file adds; none where there is no file."""
    return () if path is None else _read(path).names


def load_measurements(path: str, space: Space) -> Measurements:
    """The file's cells, none twice: the first counts. Raises UserError, in one line, for a file
    that is not as this module says, and for cells of another space."""
    found = _read(path)
    valid = space.is_valid(found.cells)
    if not valid.all():
        raise UserError(
            f"`config.measured` must hold cells of {space.name}; number {int(np.argmin(valid))} of "
            f"{path} is none."
        )
    first = graphs.new_rows(found.cells, set())
    return found._replace(cells=graphs.take(found.cells, first), values=found.values[first])


def _read(path: str) -> Measurements:
    if not Path(path).is_file():
        raise UserError(
            f"`config.measured` must be an .npz file; got {path!r}, which is not a file."
        )
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        cells = CellBatch(*(arrays.pop(name) for name in _CELLS))
        values = np.stack([np.asarray(column, np.float64) for column in arrays.values()], 1)
        if len(values) != len(cells.nodes) or values.ndim != 2:
            raise ValueError("its arrays differ in length")
    except (ValueError, KeyError, EOFError, OSError, BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"`config.measured` must be a file by `nasgen.cells.save_measurements`; {path!r} is "
            f"not: {reason}."
        ) from None
    values = np.where(np.isfinite(values), values, np.nan)
    told = [len(np.unique(column[np.isfinite(column)])) for column in values.T]
    nothing = [name for name, number in zip(arrays, told, strict=True) if number < 2]
    if nothing:
        raise UserError(
            f"`config.measured` must have different numbers for each condition; {nothing[0]} of "
            f"{path!r} says nothing."
        )
    return Measurements(cells, tuple(arrays), values)
