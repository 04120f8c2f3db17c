"""The problem that searches of `nasgen/search` solve on a table: its networks, its validation.

An exact score is a query. Nothing is computed: costs, latencies and validation are looked up.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Key

from nasgen.benchmarks.tabular.digits import ONE_CELL
from nasgen.benchmarks.tabular.table import Table
from nasgen.keys import generator
from nasgen.pipeline.cell_generator import neighbours
from nasgen.pretrained.bundle import CellBundle
from nasgen.search.problem import Generators, Moves, Problem
from nasgen.spaces import graphs
from nasgen.types import Architecture, Budget, Cell, Costs


def make_problem(
    table: Table,
    *,
    bundle: CellBundle | None = None,
    device: str | None = None,
    bound: float | None = None,
) -> Problem:
    """Random draws are uniform over the rows, mutants a random edit away.

    bundle: the generator of its cells, whose neighbours HL-Evo mutates by; without, by random
    edits. device, bound: on the latency that the table has of a device, in milliseconds."""

    def sample(key: Key[Array, ""], num: int) -> list[Architecture]:
        return list(
            map(table.architecture, generator(key).integers(0, table.num_rows, num).tolist())
        )

    def mutate(key: Key[Array, ""], architecture: Architecture) -> Architecture:
        return table.architecture(table.mutate(key, table.row(architecture)))

    def count(architectures: Sequence[Architecture]) -> Costs:
        rows = table.rows(architectures)
        none = np.zeros(len(rows), np.int64)
        looked = {name: column[rows].astype(np.int64) for name, column in table.costs.items()}
        return Costs(**{name: looked.get(name, none) for name in Costs._fields})

    return Problem(
        sample=sample,
        mutate=mutate,
        count=count,
        measure=lambda architectures: table.validation[table.rows(architectures)].reshape(-1, 1),
        identity=lambda architecture: str(table.row(architecture)).encode(),
        budget=Budget(latency_ms=bound),
        latency=(lambda some: table.latency[device][table.rows(some)]) if device else None,
        names=("validation",),
        moves=_moves(table, mutate),
        generators=_generators(table, bundle, sample, mutate),
    )


def _moves(table: Table, mutate) -> Moves:
    """For HL-Evo on cells: no stages, so an edit is always of the cell; on rows of choices an edit
    changes one of them."""
    start = table.architecture(0).macro

    def edit_macro(key: Key[Array, ""], parent: Architecture):
        if table.cells is None:
            return mutate(key, parent).macro, []
        return parent.macro, [None]

    return Moves(cells=None, edit_cell=None, edit_macro=edit_macro, start=start)


def _generators(table: Table, bundle: CellBundle | None, sample, mutate) -> Generators:
    """HL-Evo's first networks, which are uniform, and how it changes cells."""

    def near(key: Key[Array, ""], cells: Sequence[Cell]) -> list[Cell]:
        if bundle is not None:
            return graphs.unpack(neighbours(bundle, key, graphs.pack(cells)))
        keys = jax.random.split(key, len(cells))
        parents = [Architecture(ONE_CELL, (cell,)) for cell in cells]
        return [mutate(*pair).cells[0] for pair in zip(keys, parents, strict=True)]

    return Generators(
        propose=None,
        vary=None,
        features=None,
        prior=None,
        fill=lambda key, macros: sample(key, len(macros)),
        neighbours=near,
    )
