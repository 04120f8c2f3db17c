"""nasgen's search: generate, count, keep what fits, rank by a surrogate, score the top exactly.

In rounds. Each writes fresh networks, gives some of them cells of the best so far, and varies the
best (cells by the flow's neighbours, stages by the macro space's mutations); what keeps the budget
is ranked by the surrogate, which is corrected by the exact scores of this very task. The best by
rank are edited, half of them with widths fitted to the budget anew, and the best of those again,
for some generations before anything is scored: costs and ranks are cheap, exact scores are not.
"""

from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from nasgen.keys import children, generator
from nasgen.search.problem import BudgetError, Problem
from nasgen.search.state import SearchState, proposed, scored, scores
from nasgen.types import Architecture, Cell


class Generate(NamedTuple):
    """proposals: networks written in the first round; an eighth of it in each later one.
    batch: exact scores a round. elites: the best that are changed: by exact score, then by rank.
    generations: of edits that are ranked before a round scores. edits: in each of them.
    mixing: how likely a cell of a copy of the fresh networks is one of the elites'."""

    proposals: int = 2048
    batch: int = 8
    elites: int = 8
    generations: int = 48
    edits: int = 32
    mixing: float = 0.5


class Ranked(NamedTuple):
    """Networks within the budget that nobody scored, by identity, with what the surrogate says."""

    identities: list[bytes]
    architectures: list[Architecture]
    predicted: Float[np.ndarray, " networks"]


def step(
    key: Key[Array, ""], state: SearchState, problem: Problem, settings: Generate, most: int
) -> SearchState:
    """One round. Raises BudgetError when nothing fits; exhausted where nothing is new."""
    keys, write = children(key, "fresh", "elites", "cells", "edits"), problem.generators
    first = state.round == 0
    num = settings.proposals if first else max(settings.proposals // 8, 1)
    fitness, known = scores(state, problem), write.features(state.architectures)

    def ranked(found: dict[bytes, Architecture]) -> Ranked:
        pool = list(found.values())
        predicted = write.rank(write.features(pool), known, fitness) if pool else np.zeros(0)
        return Ranked(list(found), pool, predicted)

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
    pool = ranked(new)
    can_rank = len(pool.predicted) and np.ptp(pool.predicted) > 0  # else edits lead nowhere
    for generation in range(settings.generations if can_rank else 0):
        edit_keys = jax.random.split(jax.random.fold_in(keys["edits"], generation), settings.edits)
        parents = cycle(pool.architectures[i] for i in _top(pool, settings.elites))
        edited = [problem.mutate(*pair) for pair in zip(edit_keys, parents, strict=False)]
        edited[::2] = write.fit(edited[::2])
        state, more = proposed(state, problem, edited, fresh=False)
        ranked_before = set(pool.identities)
        new = {name: one for name, one in more.items() if name not in ranked_before}
        pool = _merged(pool, ranked(new))
    chosen = [pool.architectures[i] for i in _top(pool, min(settings.batch, most))]
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

    def choose(own: Cell) -> Cell:
        other = cells[rng.integers(len(cells))]
        return other if rng.random() < mixing else own

    return [one._replace(cells=tuple(map(choose, one.cells))) for one in fresh]


def _top(pool: Ranked, num: int) -> list[int]:
    """Indices of the best by rank, no two of which the surrogate cannot tell apart, while there are
    others."""
    order = np.argsort(-pool.predicted, kind="stable")
    first = np.diff(pool.predicted[order], prepend=np.inf) != 0
    return np.concatenate([order[first], order[~first]])[:num].tolist()


def _merged(pool: Ranked, more: Ranked) -> Ranked:
    return Ranked(
        pool.identities + more.identities,
        pool.architectures + more.architectures,
        np.concatenate([pool.predicted, more.predicted]),
    )
