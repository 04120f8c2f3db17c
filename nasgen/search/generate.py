"""nasgen's search: generate, count, keep what fits, rank by a surrogate, score the top exactly.

In rounds. Each writes fresh networks, gives some of them cells of the best so far, and varies the
best (cells by the flow's neighbours, stages by the macro space's mutations); what keeps the budget
is ranked by the surrogate, which is corrected by the exact scores of this very task. The best by
rank are edited, half of them with widths fitted to the budget anew, and the best of those again,
for some generations before anything is scored: costs and ranks are cheap, exact scores are not.

A surrogate that errs leads all of that astray alike. So a part of each later round is kept for
offspring of the best by exact score, an edit or a variation away, ranked among themselves. The part
is as large as the offspring's among the best: where the surrogate ranks well it stays small.
"""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from nasgen.keys import children, generator
from nasgen.search.problem import BudgetError, Problem
from nasgen.search.state import SearchState, proposed, scored, scores
from nasgen.types import Architecture, Cell


class Generate(NamedTuple):
    """proposals: networks written in the first round; an eighth of it in each later one, which
    also edits the elites as often.
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
    """One round. Raises BudgetError when nothing fits; exhausted where nothing is new.

    `state.population`: the offspring among what was scored."""
    keys = children(key, "fresh", "elites", "cells", "edits", "offspring")
    write, first = problem.generators, state.round == 0
    num = settings.proposals if first else max(settings.proposals // 8, 1)
    fitness, known = scores(state, problem), write.features(state.architectures)

    def ranked(found: dict[bytes, Architecture]) -> Ranked:
        pool = list(found.values())
        predicted = write.rank(write.features(pool), known, fitness) if pool else np.zeros(0)
        return Ranked(list(found), pool, predicted)

    fresh = write.propose(keys["fresh"], num)
    state, new = proposed(state, problem, fresh, fresh=True)
    offspring: dict[bytes, Architecture] = {}
    if not first:
        best = np.argsort(-fitness, kind="stable")[: settings.elites]
        copies = -(-num // len(best))
        elites = [state.architectures[i] for i in best]
        varied = write.vary(keys["elites"], [one for one in elites for _ in range(copies)])
        varied += write.fit(with_cells_of(keys["cells"], fresh, elites, settings.mixing))
        state, more = proposed(state, problem, varied, fresh=False)
        offspring = {name: one for name, one in more.items() if name not in new}
        new |= offspring
        edited = _edited(keys["offspring"], elites, num, problem)
        state, more = proposed(state, problem, edited, fresh=False)
        offspring |= more
    if not new and first:
        raise BudgetError(
            f"none of {len(fresh)} generated architectures fits {problem.budget}; "
            "allow a larger budget or more proposals."
        )
    pool = ranked(new)
    can_rank = len(pool.predicted) and np.ptp(pool.predicted) > 0  # else edits lead nowhere
    for generation in range(settings.generations if can_rank else 0):
        edit_key = jax.random.fold_in(keys["edits"], generation)
        parents = [pool.architectures[i] for i in _top(pool, settings.elites)]
        edited = _edited(edit_key, parents, settings.edits, problem)
        state, more = proposed(state, problem, edited, fresh=False)
        ranked_before = set(pool.identities)
        new = {name: one for name, one in more.items() if name not in ranked_before}
        pool = _merged(pool, ranked(new))
    room = min(settings.batch, most)
    share = num_offspring(state, fitness, settings, room)
    chosen = _best(ranked(offspring), share)
    kept = range(state.evaluations, state.evaluations + len(chosen))
    others = {name: one for name, one in _best(pool, 2 * room).items() if name not in chosen}
    chosen |= dict(islice(others.items(), room - len(chosen)))
    if not chosen:
        return state._replace(exhausted=True)
    state = state._replace(population=(*state.population, *kept))
    return scored(state, problem, list(chosen.values()))


def num_offspring(
    state: SearchState, fitness: Float[np.ndarray, " evaluations"], settings: Generate, room: int
) -> int:
    """How many of a round's `room` exact scores are the offspring's: as large a part as they are of
    the elites, half where none was scored yet; of either at least one where there is room."""
    if not state.round:
        return 0
    best = np.argsort(-fitness, kind="stable")[: settings.elites]
    part = np.isin(best, state.population).mean() if state.population else 0.5
    return min(max(round(room * part), 1), room - 1)


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


def _edited(
    key: Key[Array, ""], parents: Sequence[Architecture], num: int, problem: Problem
) -> list[Architecture]:
    """`num` architectures an edit away from the parents, in turn; half with widths fitted anew."""
    pairs = zip(jax.random.split(key, num), cycle(parents), strict=False)
    edited = [problem.mutate(*pair) for pair in pairs]
    edited[::2] = problem.generators.fit(edited[::2])
    return edited


def _top(pool: Ranked, num: int) -> list[int]:
    """Indices of the best by rank, no two of which the surrogate cannot tell apart, while there are
    others."""
    order = np.argsort(-pool.predicted, kind="stable")
    first = np.diff(pool.predicted[order], prepend=np.inf) != 0
    return np.concatenate([order[first], order[~first]])[:num].tolist()


def _best(pool: Ranked, num: int) -> dict[bytes, Architecture]:
    return {pool.identities[i]: pool.architectures[i] for i in _top(pool, num)}


def _merged(pool: Ranked, more: Ranked) -> Ranked:
    return Ranked(
        pool.identities + more.identities,
        pool.architectures + more.architectures,
        np.concatenate([pool.predicted, more.predicted]),
    )
