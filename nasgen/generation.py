"""Architectures to order, for users: a task and a budget in, networks within it out, best first.

params = nasgen.load_pretrained()
budget = nasgen.Budget(params=100_000, macs=10_000_000)
networks = nasgen.generate(params, jax.random.key(0), "digits", budget, num=4)
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Key

from nasgen import data
from nasgen.data.task import Dataset
from nasgen.keys import children
from nasgen.models.accuracy import PREDICTED_ACCURACY
from nasgen.networks import costs
from nasgen.networks.latency_model import Predictor
from nasgen.networks.latency_model import predict as predict_latency
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import latency
from nasgen.pipeline.fitness import STEPS
from nasgen.pipeline.generators import design, ranker_of
from nasgen.pretrained.bundle import Bundle, load_bundle
from nasgen.search.problem import BudgetError, Problem, check_bounds
from nasgen.spaces import SPACES
from nasgen.spaces import macro as macro_space
from nasgen.types import Architecture, Budget, Task

OPEN = SPACES["open"]
_MAX_CHANNELS = 256  # of the random networks whose latency says what is fast enough


def load_pretrained(name: str = "open") -> Bundle:
    """The two generative levels: shipped weights of this name, or those in the folder of a
    pretrain_macro run.

        params = nasgen.load_pretrained()

    Raises ValueError, in one line, for a name that is not there and for damaged files."""
    return load_bundle(name)


def generate(
    params: Bundle,
    key: Key[Array, ""],
    task: Task | Dataset | str,
    budget: Budget,
    *,
    num: int = 8,
    candidates: int = 4,
    fitness: str = PREDICTED_ACCURACY,
    steps: int = STEPS,
    predictor: Predictor | None = None,
) -> list[Architecture]:
    """At most `num` architectures within the budget, the best first by what is expected of them.

        nasgen.generate(params, jax.random.key(0), "digits", nasgen.Budget(params=30_000), num=4)

    params: of `load_pretrained`.
    task: a `Task`, a data set (`data.load`), or the name of a built-in one.
    budget: its counted bounds are kept exactly, and the tightest of them nearly used up; latency is
        predicted for one example on this device.
    candidates: written for each architecture that is returned; the others rank behind.
    fitness: what is expected; the accuracy after `steps` of training, or the score of the weights'
        surrogate, `params.fitness`.
    predictor: of latencies; by default this device's, which is measured once, in some minutes.

    The same key gives the same architectures. Raises ValueError for an unknown task and for numbers
    that are off, BudgetError (a ValueError) where nothing keeps the budget.
    """
    task = _task(task)
    for name, number in (("num", num), ("candidates", candidates), ("steps", steps)):
        if number < 1:
            raise ValueError(f"`{name}` must be at least 1; got {number}.")
    check_bounds(budget)
    if fitness not in (PREDICTED_ACCURACY, params.fitness):
        raise ValueError(
            f"`fitness` must be {PREDICTED_ACCURACY!r} or {params.fitness!r}; got {fitness!r}."
        )
    keys, asked, plan = children(key, "latency", "design"), budget, _plans(task)
    if budget.latency_ms is not None:
        predictor = predictor or latency.kept(None).predictor
        asked = _implied(params, keys["latency"], task, budget, predictor)
    ranker = ranker_of(params, fitness, steps)
    written = design(params, keys["design"], task, asked, num * candidates, wishes=ranker.wishes)
    made = list(dict.fromkeys(written))
    if budget.latency_ms is not None:
        fast = predict_latency(predictor, plan(made)) <= budget.latency_ms
        made = [one for one, inside in zip(made, fast, strict=True) if inside]
        if not made:
            raise BudgetError(
                f"none of {num * candidates} generated architectures for {task.name} fits "
                f"{budget}; allow more `latency_ms`, or more `candidates`."
            )
    scores = ranker.prior(np.array([ranker.describe(one) for one in plan(made)]))
    return [made[i] for i in np.argsort(-scores, kind="stable")[:num]]


def _task(task: Task | Dataset | str) -> Task:
    if isinstance(task, str):
        task = data.load(task, seed=0)
    return task.task if isinstance(task, Dataset) else task


def _plans(task: Task):
    return lambda architectures: [make_plan(one, OPEN.ops, task) for one in architectures]


def _implied(
    params: Bundle, key: Key[Array, ""], task: Task, budget: Budget, predictor: Predictor
) -> Budget:
    """Counted bounds that the bound on latency implies, see `latency.implied_budget`."""
    plan = _plans(task)

    def sample(sample_key, num: int) -> list[Architecture]:
        options = dict(size=task.size, max_channels=_MAX_CHANNELS)
        return macro_space.sample_networks(sample_key, num, OPEN, **options)

    def count(architectures: Sequence[Architecture]):
        return costs.count_many(architectures, OPEN.ops, task)

    def propose(propose_key, asked: Budget, num: int) -> list[Architecture]:
        return design(params, propose_key, task, asked, num)

    problem = Problem(
        sample=sample,
        mutate=None,
        count=count,
        measure=None,
        identity=None,
        budget=budget,
        latency=lambda architectures: predict_latency(predictor, plan(architectures)),
    )
    return latency.implied_budget(key, problem, propose)
