"""What a search knows: everything that its next step reads, so that it can be kept and go on.

A method is one pure function, `step(key, state, problem, settings, most) -> SearchState`, which
scores at least one and at most `most` networks exactly, or says that it is exhausted; every method
starts from `nothing`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from nasgen.search.problem import Parts, Problem, finite, within
from nasgen.types import Architecture, Costs


class Proposed(NamedTuple):
    """Every architecture that was proposed, with its costs: what the report draws.

    inside: whether it fits the budget. fresh: written from nothing, not a variation of one scored.
    round: when it was proposed, from 0."""

    params: Int[np.ndarray, " proposed"]
    macs: Int[np.ndarray, " proposed"]
    inside: Bool[np.ndarray, " proposed"]
    fresh: Bool[np.ndarray, " proposed"]
    round: Int[np.ndarray, " proposed"]


class SearchState(NamedTuple):
    """architectures: all that was scored, in order; parts and costs are theirs (int64 arrays).

    seconds: from the start of the search to each score; no step reads it.
    round: steps taken. population: indices of the scored that are alive, in the method's order.
    seen: identities of all that was scored. exhausted: the method finds nothing new any more.
    """

    architectures: tuple[Architecture, ...]
    parts: Parts
    costs: Costs
    seconds: Float[np.ndarray, " evaluations"]
    round: int
    population: tuple[int, ...]
    seen: frozenset[bytes]
    proposed: Proposed
    exhausted: bool = False

    @property
    def evaluations(self) -> int:
        """Exact scores so far."""
        return len(self.architectures)


def nothing(problem: Problem) -> SearchState:
    """The state before anything is scored."""
    parts = np.zeros((0, len(problem.names)))
    costs = Costs(*(np.zeros(0, np.int64) for _ in Costs._fields))
    counts, masks = np.zeros(0, np.int64), np.zeros(0, bool)
    proposed = Proposed(counts, counts, masks, masks, counts)
    return SearchState((), parts, costs, np.zeros(0), 0, (), frozenset(), proposed)


def scores(state: SearchState, problem: Problem) -> Float[np.ndarray, " evaluations"]:
    """The fitness of all that was scored, over all that was scored; -inf where it is no number."""
    if not state.evaluations:
        return np.zeros(0)
    return finite(problem.combine(state.parts))


def scored(
    state: SearchState, problem: Problem, architectures: Sequence[Architecture]
) -> SearchState:
    """The state with these architectures, which keep the budget, scored exactly."""
    counted = problem.count(architectures)
    return state._replace(
        architectures=state.architectures + tuple(architectures),
        parts=np.concatenate([state.parts, problem.measure(architectures)]),
        costs=Costs(*map(_joined, state.costs, counted)),
        seen=state.seen | {problem.identity(one) for one in architectures},
    )


def proposed(
    state: SearchState, problem: Problem, architectures: Sequence[Architecture], *, fresh: bool
) -> tuple[SearchState, dict[bytes, Architecture]]:
    """The state with these architectures noted as proposed; and those of them that keep the budget
    and were not scored before, by identity."""
    costs = problem.count(architectures)
    inside = within(problem, architectures, costs)
    num = len(architectures)
    noted = Proposed(
        costs.params, costs.macs, inside, np.full(num, fresh), np.full(num, state.round)
    )
    new: dict[bytes, Architecture] = {}
    for index in np.flatnonzero(inside):
        name = problem.identity(architectures[index])
        if name not in state.seen:
            new.setdefault(name, architectures[index])
    return state._replace(proposed=Proposed(*map(_joined, state.proposed, noted))), new


def _joined(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.concatenate([before, np.asarray(after, before.dtype)])
