"""Local search with restarts: a random neighbour of the current network is taken when it is better.

After `patience` neighbours in a row that are not, the search starts again from a random network
(stochastic hill climbing; for its strength in NAS see White et al., AutoML workshop 2020, who look
at all neighbours of a small space).
"""

from typing import NamedTuple

from jaxtyping import Array, Key

from nasgen.keys import children
from nasgen.search.draws import changed, draw_within
from nasgen.search.problem import Problem
from nasgen.search.state import SearchState, scored, scores


class LocalSearch(NamedTuple):
    """patience: neighbours in a row that bring nothing, before a restart."""

    patience: int = 100


def step(
    key: Key[Array, ""], state: SearchState, problem: Problem, settings: LocalSearch, most: int
) -> SearchState:
    """Scores one network. `state.population` is the index of the current one, which was scored last
    when it became that. Raises BudgetError where hardly any random network fits."""
    keys, number = children(key, "draw", "child"), state.evaluations
    current = state.population[0] if state.population else None
    if current is None or number - 1 - current >= settings.patience:
        drawn = draw_within(keys["draw"], problem, 1, seen=state.seen)
        return scored(state, problem, drawn)._replace(population=(number,))
    child = changed(keys["child"], problem, state.architectures[current], seen=state.seen)
    state = scored(state, problem, [child])
    fitness = scores(state, problem)
    return state._replace(population=(number,)) if fitness[number] > fitness[current] else state
