"""nasgen's search: generate, count, keep what fits, rank by a surrogate, score the top exactly.

In rounds. Each writes fresh networks, gives some of them cells of the best so far, and varies the
best (cells by the flow's neighbours, stages by the macro space's mutations); what keeps the budget
is ranked by what the surrogate and the exact scores of this very task let us believe (`belief`).
The best by rank are edited, half of them with widths fitted to the budget anew, and the best of
those again, for some generations before anything is scored: costs and ranks are cheap, exact scores
are not.
"""

from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from nasgen.keys import children, generator
from nasgen.search.belief import Expected, Rows, believe, choose, expect
from nasgen.search.problem import BudgetError, Problem
from nasgen.search.state import SearchState, proposed, scored, scores
from nasgen.types import Architecture, Cell

_REFERENCE = 256  # fresh networks whose features give the scale


class Generate(NamedTuple):
    """proposals: networks written in the first round; an eighth of it in each later one.
    batch: exact scores a round. elites: the best that are changed: by exact score, then by rank.
    generations: of edits that are ranked before a round scores. edits: in each of them.
    mixing: how likely a cell of a copy of the fresh networks is one of the elites'.
    optimism: standard deviations that are added to expected scores, to edit and to score."""

    proposals: int = 2048
    batch: int = 8
    elites: int = 8
    generations: int = 48
    edits: int = 32
    mixing: float = 0.5
    optimism: float = 1.5


class Pool(NamedTuple):
    """Networks within the budget that nobody scored, by identity, and what is expected of them."""

    architectures: dict[bytes, Architecture]
    rows: Rows
    expected: Expected


def step(
    key: Key[Array, ""], state: SearchState, problem: Problem, settings: Generate, most: int
) -> SearchState:
    """One round. Raises BudgetError when nothing fits; exhausted where nothing is new."""
    keys, write = children(key, "fresh", "elites", "cells", "edits"), problem.generators
    first = state.round == 0
    num = settings.proposals if first else max(settings.proposals // 8, 1)
    fitness = scores(state, problem)

    fresh = write.propose(keys["fresh"], num)
    state, new = proposed(state, problem, fresh, fresh=True)
    if not first:
        best = np.argsort(-fitness, kind="stable")[: settings.elites]
        copies = -(-num // len(best))
        elites = [state.architectures[i] for i in best]
        varied = write.vary(keys["elites"], [one for one in elites for _ in range(copies)])
        varied += write.fit(with_cells_of(keys["cells"], fresh, elites, settings.mixing))
        state, more = proposed(state, problem, varied, fresh=False)
        new |= more
    if not new and first:
        raise BudgetError(
            f"none of {len(fresh)} generated architectures fits {problem.budget}; "
            "allow a larger budget or more proposals."
        )
    reference, finite = write.features(fresh[:_REFERENCE]), np.isfinite(fitness)
    known = write.features([state.architectures[i] for i in np.flatnonzero(finite)])
    known = known.reshape(-1, reference.shape[1])
    belief = believe(write.prior, reference, known, fitness[finite])

    def pool_of(found: dict[bytes, Architecture]) -> Pool:
        rows = write.features(list(found.values())).reshape(-1, reference.shape[1])
        return Pool(found, rows, expect(belief, rows))

    def top(pool: Pool, num: int) -> list[Architecture]:
        some = list(pool.architectures.values())
        places = choose(belief, pool.rows, pool.expected, num, settings.optimism)
        return [some[place] for place in places]

    pool = pool_of(new)
    can_rank = len(new) and np.ptp(pool.expected.mean) > 0  # else edits lead nowhere
    for generation in range(settings.generations if can_rank else 0):
        edit_keys = jax.random.split(jax.random.fold_in(keys["edits"], generation), settings.edits)
        parents = cycle(top(pool, settings.elites))
        edited = [problem.mutate(*pair) for pair in zip(edit_keys, parents, strict=False)]
        edited[::2] = write.fit(edited[::2])
        state, more = proposed(state, problem, edited, fresh=False)
        more = {name: one for name, one in more.items() if name not in pool.architectures}
        pool = _merged(pool, pool_of(more)) if more else pool
    chosen = top(pool, min(settings.batch, most)) if pool.architectures else []
    return scored(state, problem, chosen) if chosen else state._replace(exhausted=True)


def with_cells_of(
    key: Key[Array, ""],
    fresh: Sequence[Architecture],
    elites: Sequence[Architecture],
    mixing: float,
) -> list[Architecture]:
    """The fresh networks with each of their cells, with probability `mixing`, replaced by one of
    the elites': the generator's macro architectures, its cells re-weighted by what scored well."""
    rng, cells = generator(key), [cell for one in elites for cell in one.cells]

    def pick(own: Cell) -> Cell:
        other = cells[rng.integers(len(cells))]
        return other if rng.random() < mixing else own

    return [one._replace(cells=tuple(map(pick, one.cells))) for one in fresh]


def _merged(pool: Pool, more: Pool) -> Pool:
    expected = map(np.concatenate, zip(pool.expected, more.expected, strict=True))
    rows = np.concatenate([pool.rows, more.rows])
    return Pool(pool.architectures | more.architectures, rows, Expected(*expected))
