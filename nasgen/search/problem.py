"""What a search may do: sample, change, count and score architectures. Searches see only these
callables, so every method works in the same space, under the same budget, with the same score.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Key

from nasgen.types import Architecture, Budget, Costs

Latency = Callable[[Sequence[Architecture]], Float[np.ndarray, " architectures"]]


class Problem(NamedTuple):
    """A task's search problem.

    sample: random architectures of the space, most of them over any budget.
    mutate: an architecture one random edit away.
    count: exact costs, cheap, thousands at a time.
    score: the exact fitness, expensive: what every method is charged for. Higher is better.
    identity: equal only for architectures that build the same network.
    latency: predicted milliseconds, slower than counting; needed where the budget bounds them.
    """

    sample: Callable[[Key[Array, ""], int], list[Architecture]]
    mutate: Callable[[Key[Array, ""], Architecture], Architecture]
    count: Callable[[Sequence[Architecture]], Costs]
    score: Callable[[Sequence[Architecture]], Float[np.ndarray, " architectures"]]
    identity: Callable[[Architecture], bytes]
    budget: Budget
    latency: Latency | None = None


class Found(NamedTuple):
    """What a method scored, in order. seconds: wall time of the whole search."""

    architectures: list[Architecture]
    scores: Float[np.ndarray, " architectures"]
    seconds: float

    @property
    def best(self) -> Architecture:
        """The architecture of the highest score."""
        return self.architectures[int(np.argmax(finite(self.scores)))]


def finite(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The scores with -inf for whatever is not a number: it never wins, it is never dropped."""
    return np.where(np.isfinite(scores), scores, -np.inf)


def fits(costs: Costs, budget: Budget) -> Bool[np.ndarray, " architectures"]:
    """Which costs keep every bound of the budget on what is counted."""
    inside = np.ones(np.shape(costs.params), bool)
    for name, bound in budget.counted.items():
        if bound is not None:
            inside &= getattr(costs, name) <= bound
    return inside


def within(
    problem: Problem, architectures: Sequence[Architecture], costs: Costs
) -> Bool[np.ndarray, " architectures"]:
    """Which architectures, of these `costs`, keep every bound of the problem's budget. Latency is
    predicted only for those that keep the others."""
    inside, bound = fits(costs, problem.budget), problem.budget.latency_ms
    places = np.flatnonzero(inside)
    if bound is None or not len(places):
        return inside
    if problem.latency is None:
        raise ValueError(f"`problem.latency` must predict for {problem.budget}; got None.")
    inside[places] = problem.latency([architectures[i] for i in places]) <= bound
    return inside


class BudgetError(ValueError):
    """A method could not find any architecture within the budget."""
