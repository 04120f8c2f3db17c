"""Regularised evolution (Real et al., AAAI 2019), under a budget.

The best of a random tournament is mutated, the oldest dies. One exact score a step.
"""

from typing import NamedTuple

from jaxtyping import Array, Key

from nasgen.keys import children, generator
from nasgen.search.draws import changed, draw_within
from nasgen.search.problem import Problem
from nasgen.search.state import SearchState, scored, scores


class Evolution(NamedTuple):
    """population, tournament: as in the paper. The first `population` networks, but at most half of
    all that may be scored, are random; of a smaller population the tournament is the same part."""

    population: int = 100
    tournament: int = 25


def step(
    key: Key[Array, ""], state: SearchState, problem: Problem, settings: Evolution, most: int
) -> SearchState:
    """Scores the first population, or one child. Raises BudgetError where hardly any random network
    fits."""
    if not state.evaluations:
        alive = min(max(2, min(settings.population, most // 2)), most)
        state = scored(state, problem, draw_within(key, problem, alive))
        return state._replace(population=tuple(range(alive)))
    keys, fitness = children(key, "tournament", "child"), scores(state, problem)
    alive = len(state.population)
    size = min(max(2, round(alive * settings.tournament / settings.population)), alive)
    members = generator(keys["tournament"]).choice(state.population, size, replace=False)
    parent = state.architectures[max(members, key=lambda i: fitness[i])]
    child = changed(keys["child"], problem, parent, seen=state.seen)
    population = (*state.population[1:], state.evaluations)
    return scored(state, problem, [child])._replace(population=population)
