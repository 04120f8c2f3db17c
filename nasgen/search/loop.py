"""Runs any method to a number of exact evaluations, step by step, so that it can stop and go on.

Keys follow from the key of the search and the number of the step; nothing follows from the time.
"""

import time
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Key

from nasgen.keys import children
from nasgen.search.methods import Method
from nasgen.search.problem import Problem
from nasgen.search.state import SearchState, nothing


def search(
    key: Key[Array, ""],
    method: Method,
    problem: Problem,
    evaluations: int,
    *,
    state: SearchState | None = None,
    on_state: Callable[[SearchState], None] = lambda state: None,
) -> SearchState:
    """The state after `evaluations` exact scores, or fewer where the method is exhausted.

    state: where an earlier call with the same arguments stood; the result is as if it had not
    stopped. on_state: told of the state after every step. Raises BudgetError where nothing fits.
    """
    keys = children(key, "problem", "steps")
    if method.problem is not None:
        problem = method.problem(keys["problem"], problem)
    state = nothing(problem) if state is None else state
    while state.evaluations < evaluations and not state.exhausted:
        started, before = time.perf_counter(), state
        step_key = jax.random.fold_in(keys["steps"], state.round)
        most = evaluations - state.evaluations
        state = method.step(step_key, state, problem, method.settings, most)
        elapsed = time.perf_counter() - started + (before.seconds[-1] if before.evaluations else 0)
        new = np.full(state.evaluations - before.evaluations, elapsed)
        state = state._replace(
            seconds=np.concatenate([before.seconds, new]), round=before.round + 1
        )
        on_state(state)
    return state
