"""Random search and regularised evolution (Real et al., AAAI 2019), under a budget.

Both are charged only for exact scores: architectures over the budget, or scored before, are redrawn
for free, since costs are exact and cheap.
"""

import time
from collections import deque
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Key

from nasgen.keys import children, generator
from nasgen.search.problem import BudgetError, Found, Problem, finite, within
from nasgen.types import Architecture

_BATCH, _MAX_BATCHES = 1024, 40
_MAX_MUTATIONS = 200


def draw_within(key: Key[Array, ""], problem: Problem, num: int) -> list[Architecture]:
    """`num` different random architectures within the budget.

    Raises BudgetError when hardly any of many draws fits."""
    found: dict[bytes, Architecture] = {}
    for batch in range(_MAX_BATCHES):
        drawn = problem.sample(jax.random.fold_in(key, batch), _BATCH)
        for index in np.flatnonzero(within(problem, drawn, problem.count(drawn))):
            found.setdefault(problem.identity(drawn[index]), drawn[index])
        if len(found) >= num:
            return list(found.values())[:num]
    raise BudgetError(
        f"only {len(found)} of {_BATCH * _MAX_BATCHES} random architectures fit {problem.budget}; "
        "allow a larger budget."
    )


def random_search(
    key: Key[Array, ""],
    problem: Problem,
    num_exact: int,
    *,
    on_scored: Callable[[int], None] = lambda done: None,
) -> Found:
    """Scores `num_exact` random architectures within the budget."""
    started = time.perf_counter()
    drawn = draw_within(key, problem, num_exact)
    scores = []
    for index, architecture in enumerate(drawn):
        scores.append(problem.score([architecture])[0])
        on_scored(index + 1)
    return Found(drawn, np.array(scores), time.perf_counter() - started)


def regularised_evolution(
    key: Key[Array, ""],
    problem: Problem,
    num_exact: int,
    *,
    population: int = 16,
    tournament: int = 5,
    on_scored: Callable[[int], None] = lambda done: None,
) -> Found:
    """Ageing evolution: the best of a random tournament is mutated, the oldest dies.

    The first `population` (at most half of all scores) are random."""
    started = time.perf_counter()
    keys = children(key, "start", "tournament", "mutate")
    alive = max(2, min(population, num_exact // 2))
    architectures = draw_within(keys["start"], problem, min(alive, num_exact))
    seen = {problem.identity(one) for one in architectures}
    scores = []
    for architecture in architectures:
        scores.append(problem.score([architecture])[0])
        on_scored(len(scores))
    rng, members = generator(keys["tournament"]), deque(range(len(scores)), maxlen=alive)
    while len(scores) < num_exact:
        rivals = rng.choice(list(members), min(tournament, len(members)), replace=False)
        parent = architectures[max(rivals, key=lambda i: finite(np.array([scores[i]]))[0])]
        child = _child(jax.random.fold_in(keys["mutate"], len(scores)), problem, parent, seen)
        seen.add(problem.identity(child))
        members.append(len(scores))
        architectures.append(child)
        scores.append(problem.score([child])[0])
        on_scored(len(scores))
    return Found(architectures, np.array(scores), time.perf_counter() - started)


def _child(
    key: Key[Array, ""], problem: Problem, parent: Architecture, seen: set[bytes]
) -> Architecture:
    """A new mutant within the budget; the mutation is redrawn until it is one. A random
    architecture where none is found."""
    keys = children(key, "mutate", "draw")
    for attempt in range(_MAX_MUTATIONS):
        child = problem.mutate(jax.random.fold_in(keys["mutate"], attempt), parent)
        fits = within(problem, [child], problem.count([child]))[0]
        if fits and problem.identity(child) not in seen:
            return child
    return draw_within(keys["draw"], problem, 1)[0]
