"""Architectures within the budget, drawn at random or changed at random, none that is known.

Draws are free: costs are exact and cheap, and only exact scores are charged for.
"""

from collections.abc import Callable, Collection

import jax
import numpy as np
from jaxtyping import Array, Key

from nasgen.keys import children
from nasgen.search.problem import BudgetError, Problem, within
from nasgen.types import Architecture

_BATCHES = (64, 128, 256, 512, *(1024,) * 40)
_MAX_CHANGES = 200


def draw_within(
    key: Key[Array, ""], problem: Problem, num: int, *, seen: Collection[bytes] = frozenset()
) -> list[Architecture]:
    """`num` different random architectures within the budget, none of `seen`.

    Raises BudgetError when hardly any of many draws fits."""
    found: dict[bytes, Architecture] = {}
    for batch, size in enumerate(_BATCHES):
        drawn = problem.sample(jax.random.fold_in(key, batch), size)
        for index in np.flatnonzero(within(problem, drawn, problem.count(drawn))):
            name = problem.identity(drawn[index])
            if name not in seen:
                found.setdefault(name, drawn[index])
        if len(found) >= num:
            return list(found.values())[:num]
    raise BudgetError(
        f"only {len(found)} of {sum(_BATCHES)} random architectures fit {problem.budget}; "
        "allow a larger budget."
    )


def changed(
    key: Key[Array, ""],
    problem: Problem,
    parent: Architecture,
    *,
    seen: Collection[bytes],
    change: Callable[[Key[Array, ""], Architecture], Architecture] | None = None,
) -> Architecture:
    """A new variation of `parent` within the budget; the change, by default the problem's
    mutation, is redrawn until it is one. A random architecture where none is found."""
    change = change or problem.mutate
    keys = children(key, "change", "draw")
    for attempt in range(_MAX_CHANGES):
        child = change(jax.random.fold_in(keys["change"], attempt), parent)
        inside = within(problem, [child], problem.count([child]))[0]
        if inside and problem.identity(child) not in seen:
            return child
    return draw_within(keys["draw"], problem, 1, seen=seen)[0]
