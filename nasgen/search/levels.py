"""Each level alone: the same problem with the other level taken out, for any method.

`cells_only` fixes the macro architecture, as most searches over cells do, and keeps the generator's
cells; `macro_only` keeps its macro architectures: random cells stand in the place of its own.
"""

from collections.abc import Sequence
from itertools import product

import jax
import numpy as np
from jaxtyping import Array, Key

from nasgen.keys import children, generator
from nasgen.search.problem import BudgetError, Problem, within
from nasgen.spaces.macro import with_cell, with_cells
from nasgen.types import CHANNEL_STEP, MAX_REPEATS, Architecture, MacroArchitecture

_FACTORS = (0.125, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16)  # of the hand-made widths
_DRAWS, _SHARE = 64, 0.25  # random cells for each size, and how many of them must fit


def cells_only(key: Key[Array, ""], problem: Problem) -> Problem:
    """The problem whose macro architecture is the hand-made one, as wide and deep as the budget
    allows. The generators write cells alone, of clusters drawn evenly, and vary one by a neighbour;
    widths stay. Raises BudgetError where hardly any cells fit."""
    macro, moves, written = scaled(key, problem), problem.moves, problem.generators

    def sample(sample_key, num: int) -> list[Architecture]:
        return with_cells([macro] * num, moves.cells(sample_key, num * len(macro.stages)))

    def mutate(mutate_key, architecture: Architecture) -> Architecture:
        keys = children(mutate_key, "place", "change")
        place = int(generator(keys["place"]).integers(len(architecture.cells)))
        cell = moves.edit_cell(keys["change"], architecture.cells[place])
        return with_cell(architecture, place, cell)

    def propose(propose_key, num: int) -> list[Architecture]:
        keys, shape = children(propose_key, "clusters", "cells"), (num, len(macro.stages))
        clusters = generator(keys["clusters"]).integers(moves.num_clusters, size=shape)
        asked = [_of_clusters(macro, row) for row in clusters.tolist()]
        return [one._replace(macro=macro) for one in written.fill(keys["cells"], asked)]

    def vary(vary_key, parents: Sequence[Architecture]) -> list[Architecture]:
        keys = children(vary_key, "places", "cells")
        places = generator(keys["places"]).integers(len(macro.stages), size=len(parents)).tolist()
        old = [one.cells[place] for one, place in zip(parents, places, strict=True)]
        new = written.neighbours(keys["cells"], old)
        changes = zip(parents, places, new, strict=True)
        return [with_cell(one, place, cell) for one, place, cell in changes]

    generators = written._replace(propose=propose, vary=vary, fit=list)
    return problem._replace(sample=sample, mutate=mutate, generators=generators)


def _of_clusters(macro: MacroArchitecture, clusters: Sequence[int]) -> MacroArchitecture:
    stages = zip(macro.stages, clusters, strict=True)
    return macro._replace(stages=tuple(stage._replace(cluster=c) for stage, c in stages))


def scaled(key: Key[Array, ""], problem: Problem) -> MacroArchitecture:
    """The hand-made macro architecture, its widths times one factor and with so many repeats in
    every stage that a quarter of random cells keep the budget: of several the one of most MACs."""
    start, best, most = problem.moves.start, None, -1.0
    cells = problem.moves.cells(key, _DRAWS * len(start.stages))
    for factor, repeats in product(_FACTORS, range(1, MAX_REPEATS + 1)):
        macro = _scale(start, factor, repeats)
        drawn = with_cells([macro] * _DRAWS, cells)
        costs = problem.count(drawn)
        if within(problem, drawn, costs).mean() >= _SHARE and np.median(costs.macs) > most:
            best, most = macro, np.median(costs.macs)
    if best is None:
        raise BudgetError(f"no size of {start} fits {problem.budget}; allow a larger budget.")
    return best


def _scale(macro: MacroArchitecture, factor: float, repeats: int) -> MacroArchitecture:
    def width(channels: int) -> int:
        return CHANNEL_STEP * max(round(factor * channels / CHANNEL_STEP), 1)

    stages = tuple(s._replace(channels=width(s.channels), repeats=repeats) for s in macro.stages)
    return MacroArchitecture(stages, width(macro.final_width))


def macro_only(key: Key[Array, ""], problem: Problem) -> Problem:
    """The problem whose generators write macro architectures alone: cells are random, widths are
    fitted to the budget as always, and what is varied are stages."""
    moves, generators = problem.moves, problem.generators

    def propose(propose_key, num: int) -> list[Architecture]:
        keys = children(propose_key, "macros", "cells")
        macros = generators.macros(keys["macros"], num)
        cells = moves.cells(keys["cells"], sum(len(one.stages) for one in macros))
        return generators.fit(with_cells(macros, cells))

    def mutate(mutate_key, architecture: Architecture) -> Architecture:
        keys = children(mutate_key, "macro", "cells")
        macro, kept = moves.edit_macro(keys["macro"], architecture)
        fresh = iter(moves.cells(keys["cells"], kept.count(None)))
        return Architecture(macro, tuple(next(fresh) if cell is None else cell for cell in kept))

    def vary(vary_key, parents) -> list[Architecture]:
        keys = jax.random.split(vary_key, len(parents))
        return [mutate(*pair) for pair in zip(keys, parents, strict=True)]

    generators = generators._replace(propose=propose, vary=vary)
    return problem._replace(mutate=mutate, generators=generators)
