"""A run in advance: what it would do, and what that would take, measured on one network by hand.

Nothing is written but compiled programs. The network is a MobileNetV2 that is scaled to the budget;
designs have more and smaller layers, or fewer, so that their times differ by some factor.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nasgen.keys import children
from nasgen.networks.costs import count
from nasgen.networks.plans.open import make_plan
from nasgen.networks.programs import PROGRAMS
from nasgen.pipeline.config import flat
from nasgen.pipeline.examples import examples_of
from nasgen.pipeline.problems import make_fitness
from nasgen.pipeline.request import Request
from nasgen.published import handmade
from nasgen.report import words
from nasgen.report.card import short
from nasgen.search.halving import rungs
from nasgen.training.brief import fresh_weights, loss_gradient
from nasgen.training.progress import duration
from nasgen.training.units import standardised, units_of
from nasgen.types import Architecture, Budget, Costs

_FAMILY = "mobilenet_v2"


class Rehearsal(NamedTuple):
    """What one network costs. score, step: seconds of an exact score and of a step of training,
    compiled. programs: small ones that it needed, and the seconds of compiling them."""

    costs: Costs
    score: float
    step: float
    programs: int
    seconds_compile: float


def rehearse(config: ConfigDict, request: Request) -> Rehearsal | None:
    """Scores the network once and trains it for a step. None where nothing counted is bounded, so
    that there is no size to scale it to, or where the family has none that small."""
    try:
        counted = Budget(**request.budget.counted)
        network = handmade.scaled_to(_FAMILY, counted, request.dataset.task)
    except ValueError:
        return None
    before = PROGRAMS.num_compiled, PROGRAMS.seconds_compile
    plan = make_plan(network, request.space.ops, request.dataset.task)
    score = _second(lambda: _score(config, request, network))
    step = _second(_step_of(config, request, plan))
    compiled = PROGRAMS.num_compiled - before[0], PROGRAMS.seconds_compile - before[1]
    return Rehearsal(count(plan), score, step, *compiled)


def _second(work: Callable[[], Any]) -> float:
    """Seconds of doing it again: the first time may compile."""
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _score(config: ConfigDict, request: Request, network: Architecture) -> None:
    keys = children(jax.random.key(config.seed), "weights", "batch")
    fitness = make_fitness(
        keys["weights"],
        config.design.fitness,
        request.dataset.task,
        examples_of(keys["batch"], request.dataset, config.design.score_batch),
        space=request.space.name,
        accuracy=request.bundle.accuracy,
        steps=config.train.steps,
    )
    fitness.measure([network])


def _step_of(config: ConfigDict, request: Request, plan) -> Callable[[], Any]:
    """Gradients of one batch."""
    train, rows = request.dataset.train, slice(0, config.train.batch_size)
    weights = fresh_weights(np.random.default_rng(0), plan)
    y = np.asarray(standardised(jnp.asarray(train.y[rows]), units_of(request.dataset)))
    return lambda: loss_gradient(plan, weights, np.asarray(train.x[rows]), y)


def finalist_steps(num: int, steps: int) -> int:
    """Steps of all trainings of `search.halving`."""
    return sum(one * each for one, each in rungs(num, steps))


def in_words(config: ConfigDict, request: Request, found: Rehearsal | None) -> str:
    """The settings, what would run, and what it would take."""
    settings = [f"  {key} = {value!r}" for key, value in flat(config.to_dict()).items()]
    lines = ["Settings", *settings, "", "What would run", *_stages(config, request), ""]
    return "\n".join([*lines, "What it would take", *_costs(config, request, found)])


def _stages(config: ConfigDict, request: Request) -> list[str]:
    design, train, data = config.design, config.train, request.dataset
    examples = words.examples(data.task)
    epochs = train.steps / (len(data.train.y) // train.batch_size)
    proposals = design.num_macros * design.cells_per_macro
    rows = [
        ("search", f"{design.method}: {design.num_exact:,} exact scores, {proposals:,} proposals"),
        ("baselines", ", ".join(design.baselines) or "none"),
    ]
    if design.finalists:
        total = finalist_steps(design.finalists + 1, design.finalist_steps)
        text = f"{design.finalists} and one drawn at random, {total:,} steps in all"
        rows.append(("finalists", text))
    rows += [
        ("train", f"{train.steps:,} steps of {train.batch_size} {examples}, {epochs:,.0f} epochs"),
        ("deliver", f"{len(data.test.y):,} test {examples}, latency, export, report"),
    ]
    return [f"  {name:10} {text}" for name, text in rows]


def _costs(config: ConfigDict, request: Request, found: Rehearsal | None) -> list[str]:
    if found is None:
        return ["  not foretold: no bound on params, MACs or memory says how large a network is"]
    design, train, costs = config.design, config.train, found.costs
    scores = design.num_exact * (1 + len(design.baselines)) * found.score
    halved = finalist_steps(design.finalists + 1, design.finalist_steps)
    trained = halved * found.step if design.finalists else 0.0
    last = train.steps * found.step
    memory = 3 * costs.activation_memory * train.batch_size + 16 * costs.params
    example = words.examples(request.dataset.task, number=1)
    sizes = f"{short(costs.params)} parameters, {short(costs.macs)} MACs for one {example}"
    pace = f"{found.score:.2g} s a score, {found.step:.2g} s a step"
    parts = f"{duration(scores)} of scores, {duration(trained)} of finalists, {duration(last)}"
    programs = f"{found.programs} small programs, {duration(found.seconds_compile)}"
    rows = [
        ("network", f"{sizes}, {costs.layers} layers: {_FAMILY} within the budget, as a stand-in"),
        ("memory", f"about {short(memory)}B in training, beside what JAX itself takes"),
        ("compiles", f"{programs}, now kept"),
        ("", "other networks need some more, the one that is delivered three large ones"),
        ("time", f"{parts} of training: about {duration(scores + trained + last)}"),
        ("", f"by {pace} of the stand-in on this machine; compiling comes on top"),
    ]
    return [f"  {name:10} {text}" for name, text in rows]
