"""What a search may do: sample, change, count and score architectures. Searches see only these
callables, so every method works in the same space, under the same budget, with the same score.
"""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from reprlib import repr as brief
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Key

from nasgen.types import Architecture, Budget, Cell, Costs, MacroArchitecture

Latency = Callable[[Sequence[Architecture]], Float[np.ndarray, " architectures"]]
Parts = Float[np.ndarray, "architectures parts"]


class Moves(NamedTuple):
    """The space's own steps, a level at a time.

    cells: random cells. edit_cell: a cell one random edit away. edit_macro: the stages one random
    edit away, and each one's cell, None where its cluster is another now.
    start: the hand-made macro architecture that the paper's search starts from.
    num_clusters: of cells; stages name one each.
    """

    cells: Callable[[Key[Array, ""], int], list[Cell]]
    edit_cell: Callable[[Key[Array, ""], Cell], Cell]
    edit_macro: Callable[
        [Key[Array, ""], Architecture], tuple[MacroArchitecture, list[Cell | None]]
    ]
    start: MacroArchitecture
    num_clusters: int = 1


class Generators(NamedTuple):
    """The learned parts, as callables.

    propose: `(key, num) -> architectures` written for the task and budget.
    vary: `(key, architectures) -> architectures` near the given ones, one each.
    features: what the surrogate reads of architectures, `[n, features]`.
    prior: `features -> predicted scores`, in their units; all equal where nothing is known yet.
    macros: `(key, num) -> macro architectures` as `propose` writes them.
    fill: `(key, macro architectures) -> architectures`, each stage's cell drawn of its cluster.
    neighbours: `(key, cells) -> cells` of the same conditions, one each.
    fit: `architectures -> architectures` whose widths are changed to use up the budget.
    """

    propose: Callable[[Key[Array, ""], int], list[Architecture]]
    vary: Callable[[Key[Array, ""], Sequence[Architecture]], list[Architecture]]
    features: Callable[[Sequence[Architecture]], Float[np.ndarray, "n features"]]
    prior: Callable[[Float[np.ndarray, "n features"]], Float[np.ndarray, " n"]]
    macros: Callable[[Key[Array, ""], int], list[MacroArchitecture]] | None = None
    fill: Callable[[Key[Array, ""], Sequence[MacroArchitecture]], list[Architecture]] | None = None
    neighbours: Callable[[Key[Array, ""], Sequence[Cell]], list[Cell]] | None = None
    fit: Callable[[Sequence[Architecture]], list[Architecture]] | None = None


def first_part(parts: Parts) -> Float[np.ndarray, " architectures"]:
    """The fitness that is one score."""
    return parts[:, 0]


class Problem(NamedTuple):
    """A task's search problem.

    sample: random architectures of the space, most of them over any budget.
    mutate: an architecture one random edit away.
    count: exact costs, cheap, thousands at a time.
    measure: the parts of the exact fitness, expensive: what every method is charged for.
    combine: scores of all that was measured from their parts, higher is better; the score of one
        may depend on the others' (ranks), so it is computed anew after each step.
    identity: equal only for architectures that build the same network.
    latency: predicted milliseconds, slower than counting; needed where the budget bounds them.
    names: of the parts.
    moves, generators: for the methods that say so.
    """

    sample: Callable[[Key[Array, ""], int], list[Architecture]]
    mutate: Callable[[Key[Array, ""], Architecture], Architecture]
    count: Callable[[Sequence[Architecture]], Costs]
    measure: Callable[[Sequence[Architecture]], Parts]
    identity: Callable[[Architecture], bytes]
    budget: Budget
    latency: Latency | None = None
    combine: Callable[[Parts], Float[np.ndarray, " architectures"]] = first_part
    names: tuple[str, ...] = ("score",)
    moves: Moves | None = None
    generators: Generators | None = None


def check_bounds(budget: Budget) -> None:
    """Raises ValueError for a bound that is no positive number."""
    for name, bound in budget._asdict().items():
        is_number = isinstance(bound, Real) and not isinstance(bound, bool)
        if bound is not None and not (is_number and 0 < bound < math.inf):
            raise ValueError(f"`budget.{name}` must be positive or None; got {brief(bound)}.")


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
