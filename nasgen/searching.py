"""Networks for a task and a budget, for users: any method of search, any fitness, kept in memory.

A design run (`experiments/run.py`) does the same with files, and trains and exports the winner.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Key

from nasgen import data
from nasgen.data.task import Dataset
from nasgen.keys import children
from nasgen.models.accuracy import PREDICTED_ACCURACY
from nasgen.networks.latency_model import predict
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import latency
from nasgen.pipeline.examples import examples_of
from nasgen.pipeline.fitness import STEPS
from nasgen.pipeline.problems import UserFitness, make_problem
from nasgen.pipeline.request import check_budget, check_latency
from nasgen.pretrained.bundle import Bundle, load_bundle
from nasgen.search.halving import Train, successive_halving
from nasgen.search.loop import search as run_search
from nasgen.search.methods import configured
from nasgen.search.pareto import objectives, pareto_set
from nasgen.search.problem import check_bounds
from nasgen.search.state import SearchState, scores
from nasgen.spaces import SPACES
from nasgen.types import Architecture, Budget, Costs, Task


class Found(NamedTuple):
    """Every network that was scored, best first, all of them within the budget.

    costs: exact, int64 arrays. latency_ms: predicted; None where the budget does not bound it.
    pareto: which of them no other beats in fitness, params, MACs and (where bounded) latency.
    accuracies: of the finalists, which come first; empty without `train`.
    """

    architectures: list[Architecture]
    scores: Float[np.ndarray, " networks"]
    costs: Costs
    pareto: Bool[np.ndarray, " networks"]
    latency_ms: Float[np.ndarray, " networks"] | None
    accuracies: Float[np.ndarray, " finalists"]


def search(
    bundle: Bundle | str,
    key: Key[Array, ""],
    task: Task | Dataset | str,
    budget: Budget,
    *,
    method: str = "generate",
    fitness: str | UserFitness = PREDICTED_ACCURACY,
    evaluations: int = 32,
    batch: int = 32,
    settings: Mapping[str, int] | None = None,
    train: Train | None = None,
    finalists: int = 8,
    steps: int = 200,
    training_steps: int = STEPS,
    on_state: Callable[[SearchState], None] = lambda state: None,
) -> Found:
    """Searches with `evaluations` exact scores in all.

        found = nasgen.search("open", jax.random.key(0), "digits", Budget(params=30_000))
        found.architectures[0], found.scores[0]

    bundle: weights, their name, or the folder of a pretrain_macro run.
    task: a data set, the name of a built-in one, or a `Task` alone (scored on natural images).
    method: one of `search.methods.METHODS`, with `settings` of its own in place of the defaults.
    fitness: a proxy or an ensemble of them by name, `predicted_accuracy` (after `training_steps`),
        or `architectures -> scores`, higher is better.
    batch: images of a score. on_state: told after every step.
    train: `(architectures, steps) -> accuracies`; orders the `finalists` best by successive
        halving, from `steps` on.

    Raises ValueError for unknown names, a budget below the smallest network's costs, too large a
    batch; BudgetError, which is one, where nothing is found within the budget.
    """
    if evaluations < 1:
        raise ValueError(f"`evaluations` must be at least 1; got {evaluations}.")
    check_bounds(budget)
    bundle = load_bundle(bundle) if isinstance(bundle, str) else bundle
    source = data.load(task, seed=0) if isinstance(task, str) else task
    about = source.task if isinstance(source, Dataset) else source
    space, keys = SPACES[bundle.cells.space], children(key, "batch", "problem", "search")
    chosen = configured(method, {} if settings is None else {method: settings})
    predictor = None if budget.latency_ms is None else latency.kept(None).predictor
    _check(budget, predictor, space, about)
    problem = make_problem(
        keys["problem"],
        bundle,
        about,
        budget,
        examples_of(keys["batch"], source, batch),
        fitness=fitness,
        steps=training_steps,
        latency=predictor,
    )
    state = run_search(keys["search"], chosen, problem, evaluations, on_state=on_state)
    plans = [make_plan(one, space.ops, about) for one in state.architectures]
    milliseconds = None if predictor is None else predict(predictor, plans)
    return _ordered(state, scores(state, problem), milliseconds, train, finalists, steps)


def _check(budget: Budget, predictor, space, task: Task) -> None:
    try:
        check_budget(budget, space, task)
        if predictor is not None:
            check_latency(budget, predictor, space, task)
    except ValueError as error:
        raise ValueError(str(error).replace("`config.budget", "`budget")) from None


def _ordered(state: SearchState, fitness, milliseconds, train, finalists: int, steps: int) -> Found:
    order = np.argsort(-fitness, kind="stable")
    accuracies = np.zeros(0)
    if train is not None:
        first = order[:finalists]
        halved = successive_halving([state.architectures[i] for i in first], train, steps=steps)
        order = np.concatenate([first[halved.order], order[finalists:]])
        accuracies = halved.accuracies[halved.order]
    costs = Costs(*(column[order] for column in state.costs))
    fitness = fitness[order]
    late: dict[str, Any] = {} if milliseconds is None else {"latency": milliseconds[order]}
    points = objectives(fitness, costs.params, costs.macs, *late.values())
    networks = [state.architectures[i] for i in order]
    return Found(networks, fitness, costs, pareto_set(points), late.get("latency"), accuracies)
