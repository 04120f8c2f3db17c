"""Random search: random architectures within the budget, none twice."""

from typing import NamedTuple

from jaxtyping import Array, Key

from nasgen.search.draws import draw_within
from nasgen.search.problem import Problem
from nasgen.search.state import SearchState, scored


class Random(NamedTuple):
    """batch: networks drawn at once, which is all that it changes."""

    batch: int = 16


def step(
    key: Key[Array, ""], state: SearchState, problem: Problem, settings: Random, most: int
) -> SearchState:
    """Scores a batch of new random networks. Raises BudgetError where hardly any fits."""
    drawn = draw_within(key, problem, min(settings.batch, most), seen=state.seen)
    return scored(state, problem, drawn)
