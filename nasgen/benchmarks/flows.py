"""Seconds to the same held-out likelihood: flow matching against maximum likelihood, same data.

Both train the same vector field on the latents of a generator of cells, from the same start, and
are judged by the same held-out log-likelihood (Hutchinson's trace), more often in the beginning;
evaluations are not counted, compiling is reported apart. Flow matching trains for a fixed time,
likelihood training `patience` times as long.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from nasgen import pretrained
from nasgen.keys import children, generator
from nasgen.models import flow
from nasgen.models.flow import OBJECTIVES, FlowConfig
from nasgen.pipeline.cell_generator import conditions_of, in_order
from nasgen.pipeline.cells_data import distinct_cells
from nasgen.pipeline.chunks import encode_all
from nasgen.pipeline.config import COMMON, UserError, check, number, text, whole
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.pretrained.bundle import load_cells
from nasgen.spaces import SPACES
from nasgen.training.progress import progress

RULES = {
    **COMMON,
    "weights": text(),
    "num_cells": whole(100),
    "num_held": whole(8),
    "seconds": number(0, above=True),
    "patience": number(1),
    "evaluations": whole(2, 1_000),
    "solver_steps": whole(1, 1_000),
    "learning_rate": number(0, above=True),
    "batch_size": whole(2),
    **{f"model.{size}": whole(1, 8192) for size in ("width", "depth", "context_width")},
}


class Data(NamedTuple):
    """Standardised latents and conditions, to fit and held out."""

    latents: Float[np.ndarray, "cells latent"]
    conditions: Float[np.ndarray, "cells condition"]
    held_latents: Float[np.ndarray, "held latent"]
    held_conditions: Float[np.ndarray, "held condition"]


class Trace(NamedTuple):
    """Seconds of training at each evaluation, nats there, steps in all, seconds of compiling."""

    seconds: list[float]
    nats: list[float]
    steps: int
    compiling: float


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Trains both and writes results.json. Raises UserError for a config that is off."""
    check(config, RULES)
    try:
        pretrained.find(config.weights, "cells")
    except ValueError as error:
        raise UserError(str(error).replace("`pretrained`", "`config.weights`")) from None
    keys = children(jax.random.key(config.seed), "data", "train")
    data = load_data(config, keys["data"])
    limits = {"flow_matching": config.seconds, "likelihood": config.patience * config.seconds}
    traces = {name: train(name, keys["train"], data, config, s) for name, s in limits.items()}
    write_results(workdir, compare(traces, config.patience))


def load_data(config: ConfigDict, key: Key[Array, ""]) -> Data:
    """Encoded cells of the generator's space."""
    bundle = load_cells(config.weights)
    space = SPACES[bundle.space]
    batch = in_order(space, distinct_cells(space, key, config.num_cells)[0])
    latents = bundle.latents.apply(encode_all(bundle.vae, bundle.vae_config, *batch))
    rows = latents.astype(np.float32), conditions_of(bundle, batch).astype(np.float32)
    held = config.num_held
    return Data(*(side[held:] for side in rows), *(side[:held] for side in rows))


def train(name: str, key: Key[Array, ""], data: Data, config: ConfigDict, limit: float) -> Trace:
    """One objective for so many seconds."""
    sizes = FlowConfig(data.latents.shape[1], data.conditions.shape[1], **config.model.to_dict())
    keys = children(key, "init", "steps", "data", "eval")
    options = {"num_steps": config.solver_steps} if name == "likelihood" else {}
    loss = partial(OBJECTIVES[name], config=sizes, **options)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(config.learning_rate))
    params = flow.init(keys["init"], sizes)
    state = params, optimiser.init(params)

    @jax.jit
    def step(state, step_key, latents, conditions):
        params, moments = state
        gradients = jax.grad(loss)(params, step_key, latents, conditions)
        updates, moments = optimiser.update(gradients, moments, params)
        return optax.apply_updates(params, updates), moments

    def evaluate(params) -> float:
        options = dict(config=sizes, key=keys["eval"], trace="hutchinson")
        held = data.held_latents, data.held_conditions
        return float(flow.log_prob(params, *held, **options).mean())

    def batch(number: int):
        rng = generator(jax.random.fold_in(keys["data"], number))
        rows = rng.integers(0, len(data.latents), config.batch_size)
        return data.latents[rows], data.conditions[rows]

    started = time.perf_counter()
    jax.block_until_ready(step(state, keys["steps"], *batch(0)))
    compiling = time.perf_counter() - started
    return _timed(name, state, step, batch, evaluate, keys["steps"], config, limit, compiling)


def _timed(
    name: str,
    state,
    step: Callable,
    batch: Callable,
    evaluate: Callable,
    key,
    config: ConfigDict,
    limit: float,
    compiling: float,
) -> Trace:
    """Steps until the time is over, with evaluations in between that the clock leaves out."""
    seconds, nats, steps, spent = [0.0], [evaluate(state[0])], 0, 0.0
    with progress(config.evaluations, label=name) as report:
        for number in range(config.evaluations):
            target = limit * ((number + 1) / config.evaluations) ** 3
            before, started = spent, time.perf_counter()
            while spent < target:
                state = step(state, jax.random.fold_in(key, steps), *batch(steps))
                jax.block_until_ready(state)
                steps += 1
                spent = before + time.perf_counter() - started
            seconds.append(spent)
            nats.append(evaluate(state[0]))
            report(number + 1, f"{nats[-1]:.2f} nats")
    return Trace(seconds, nats, steps, compiling)


def compare(traces: dict[str, Trace], patience: float) -> dict[str, Any]:
    """`speedup_flow_matching`: likelihood's seconds to the mark, the best held-out likelihood that
    both reach, over flow matching's."""
    matching, likelihood = traces["flow_matching"], traces["likelihood"]
    mark = min(max(matching.nats), max(likelihood.nats))
    first = {name: _seconds_to(trace, mark) for name, trace in traces.items()}
    figures: dict[str, Any] = {
        "mark_nats": mark,
        "speedup_flow_matching": first["likelihood"] / first["flow_matching"],
        "likelihood_reached_best_of_matching": max(likelihood.nats) >= max(matching.nats),
        "patience": patience,
    }
    for name, trace in traces.items():
        figures |= {
            f"{name}/seconds_to_mark": first[name],
            f"{name}/best_nats": max(trace.nats),
            f"{name}/seconds": trace.seconds,
            f"{name}/nats": trace.nats,
            f"{name}/steps": trace.steps,
            f"{name}/seconds_a_step": trace.seconds[-1] / trace.steps,
            f"{name}/seconds_compile": trace.compiling,
        }
    return figures


def _seconds_to(trace: Trace, mark: float) -> float:
    """Seconds to the first evaluation that reaches the mark, interpolated from the one before."""
    index = next(i for i, nats in enumerate(trace.nats) if nats >= mark)
    if index == 0:
        return 0.0
    (t0, t1), (n0, n1) = trace.seconds[index - 1 : index + 1], trace.nats[index - 1 : index + 1]
    return t0 + (t1 - t0) * (mark - n0) / (n1 - n0)
