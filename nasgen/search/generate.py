"""nasgen's search: generate, count, keep what fits, rank by a surrogate, score the top exactly.

In rounds: the first ranks fresh samples of the generators by the shipped surrogate; each later one
also changes the best networks so far (cells by the flow's neighbours, stages by the macro space's
mutations) and ranks with the surrogate corrected by the exact scores of this very task. Never more
exact scores than asked for.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from nasgen.search.problem import BudgetError, Found, Problem, finite, within
from nasgen.types import Architecture


class Generators(NamedTuple):
    """The learned parts, as callables.

    propose: `(key, num) -> architectures` written for the task and budget.
    vary: `(key, architectures) -> architectures` near the given ones, one each.
    features: what the surrogate reads of architectures, `[n, features]`.
    rank: `(features, scored features, scores) -> predicted scores`; the scored may be empty.
    """

    propose: Callable[[Key[Array, ""], int], list[Architecture]]
    vary: Callable[[Key[Array, ""], Sequence[Architecture]], list[Architecture]]
    features: Callable[[Sequence[Architecture]], Float[np.ndarray, "n features"]]
    rank: Callable[[np.ndarray, np.ndarray, np.ndarray], Float[np.ndarray, " n"]]


class Candidates(NamedTuple):
    """Every architecture that was proposed, with its costs: what the report draws.

    inside: whether it fits the budget. round: when it was proposed, from 0."""

    params: list[int]
    macs: list[int]
    inside: list[bool]
    round: list[int]


class SearchState(NamedTuple):
    """Everything that the next round needs."""

    round: int
    architectures: list[Architecture]
    scores: list[float]
    features: list[np.ndarray]
    seen: frozenset[bytes]
    candidates: Candidates


def generate(
    key: Key[Array, ""],
    problem: Problem,
    generators: Generators,
    num_exact: int,
    *,
    num_proposals: int,
    rounds: int = 4,
    elites: int = 8,
    on_scored: Callable[[int], None] = lambda done: None,
) -> tuple[Found, Candidates]:
    """Finds architectures within the budget by `num_exact` exact scores in all.

    num_proposals: generated in the first round, and a quarter of it in each later one, where as
    many again are variations of the `elites` best. Raises BudgetError when nothing fits."""
    started = time.perf_counter()
    state = SearchState(0, [], [], [], frozenset(), Candidates([], [], [], []))
    rounds = max(1, min(rounds, num_exact // 2))
    shares = np.diff(np.linspace(0, num_exact, rounds + 1).round().astype(int))
    for share in shares:
        state = search_round(
            jax.random.fold_in(key, state.round),
            state,
            problem,
            generators,
            int(share) if state.round + 1 < rounds else num_exact - len(state.scores),
            num_proposals=num_proposals,
            elites=elites,
            on_scored=on_scored,
        )
    seconds = time.perf_counter() - started
    return Found(state.architectures, np.array(state.scores), seconds), state.candidates


def search_round(
    key: Key[Array, ""],
    state: SearchState,
    problem: Problem,
    generators: Generators,
    num_exact: int,
    *,
    num_proposals: int,
    elites: int,
    on_scored: Callable[[int], None] = lambda done: None,
) -> SearchState:
    """One round: propose, count, keep what fits, rank, score the top `num_exact`."""
    propose_key, vary_key = jax.random.split(key)
    if state.round == 0:
        proposed = generators.propose(propose_key, num_proposals)
    else:
        fresh = generators.propose(propose_key, max(num_proposals // 4, 1))
        best = np.argsort(-finite(np.array(state.scores)), kind="stable")[:elites]
        copies = -(-len(fresh) // len(best))
        parents = [state.architectures[i] for i in best for _ in range(copies)]
        proposed = fresh + generators.vary(vary_key, parents)
    costs = problem.count(proposed)
    inside = within(problem, proposed, costs)
    candidates = Candidates(
        state.candidates.params + costs.params.tolist(),
        state.candidates.macs + costs.macs.tolist(),
        state.candidates.inside + inside.tolist(),
        state.candidates.round + [state.round] * len(proposed),
    )
    new: dict[bytes, Architecture] = {}
    for index in np.flatnonzero(inside):
        identity = problem.identity(proposed[index])
        if identity not in state.seen:
            new.setdefault(identity, proposed[index])
    if not new and not state.scores:
        raise BudgetError(
            f"none of {len(proposed)} generated architectures fits {problem.budget}; "
            "allow a larger budget or more proposals."
        )
    if not new:  # only networks that are known, or none within the budget
        return state._replace(round=state.round + 1, candidates=candidates)
    identities, pool = list(new), list(new.values())
    features = generators.features(pool)
    known = np.array(state.features).reshape(len(state.features), features.shape[1])
    predicted = generators.rank(features, known, finite(np.array(state.scores)))
    chosen = np.argsort(-predicted, kind="stable")[:num_exact]
    scores = []
    for start in range(0, len(chosen), 8):
        scores += problem.score([pool[i] for i in chosen[start : start + 8]]).tolist()
        on_scored(len(state.scores) + len(scores))
    return SearchState(
        state.round + 1,
        state.architectures + [pool[i] for i in chosen],
        state.scores + scores,
        state.features + [features[i] for i in chosen],
        state.seen | {identities[i] for i in chosen},
        candidates,
    )
