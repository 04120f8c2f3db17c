"""Tables whose networks are rows of choices, every combination once."""

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Array, Int, Key

from nasgen.benchmarks.tabular.table import Table
from nasgen.keys import children, generator
from nasgen.spaces import Space, graphs
from nasgen.types import Architecture, Cell, MacroArchitecture, Stage

Digits = Int[np.ndarray, "rows choices"]
ONE_CELL = MacroArchitecture((Stage(0, 8, 1, 1),), 8)  # of an architecture that is a cell


def digit_table(space: Space, digits: Digits, **columns: Any) -> Table:
    """The table of a space of cells that are alike in their wiring; columns: as in `Table`."""
    wiring, rows = space.rules.wiring, _rows(digits)
    cells = [Cell(tuple(map(int, row)), wiring) for row in digits.tolist()]
    return Table(
        space=space.name,
        digits=digits,
        cells=graphs.pack(cells),
        architecture=lambda row: Architecture(ONE_CELL, (cells[row],)),
        row=lambda one: rows.get(one.cells[0].ops),
        mutate=partial(_mutate, digits, rows, len(space.ops)),
        **columns,
    )


def stage_table(num_choices: int, digits: Digits, networks: Digits, **columns: Any) -> Table:
    """The table of a space of networks whose layers are chosen one by one: an architecture's
    stages say which, as their clusters. networks: equal where rows build the same network; the
    first of such rows stands for all."""
    rows = _rows(digits)
    _, firsts, same = np.unique(networks, axis=0, return_index=True, return_inverse=True)
    stands = firsts[same.reshape(-1)]

    def architecture(row: int) -> Architecture:
        stages = tuple(Stage(int(choice), 8, 1, 1) for choice in digits[row])
        return Architecture(MacroArchitecture(stages, 8), ())

    def find(one: Architecture) -> int | None:
        row = rows.get(tuple(stage.cluster for stage in one.macro.stages))
        return None if row is None else int(stands[row])

    def mutate(key: Key[Array, ""], row: int) -> int:
        """Of a random one of the rows that build the network, so that its every edit is one."""
        keys = children(key, "row", "choice")
        own = generator(keys["row"]).choice(np.flatnonzero(stands == stands[row]))
        return int(stands[_mutate(digits, rows, num_choices, keys["choice"], int(own))])

    return Table(
        space=None,
        digits=networks,
        cells=None,
        architecture=architecture,
        row=find,
        mutate=mutate,
        stands=stands,
        **columns,
    )


def _rows(digits: Digits) -> dict[tuple[int, ...], int]:
    return {tuple(row): number for number, row in enumerate(digits.tolist())}


def _mutate(digits: Digits, rows, num_choices: int, key: Key[Array, ""], row: int) -> int:
    """Another row with one choice changed."""
    rng, mutant = generator(key), digits[row].tolist()
    place = rng.integers(len(mutant))
    mutant[place] = int(mutant[place] + rng.integers(1, num_choices)) % num_choices
    return rows[tuple(mutant)]
