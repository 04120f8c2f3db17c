"""What a million candidates would cost on accelerators: a simulation from costs measured here.

Each stage of a candidate's way is timed on this machine, compiling apart: in core-seconds, so that
other work changes little, or, where this machine has an accelerator, in its seconds by the clock.
Then arithmetic with assumptions, which the config states: stages that run on devices are split
evenly among all accelerators, with a process for each; an accelerator is as fast as the one here
or, where there is none, `device_speedup` times as fast as one core here; stages of the host, scores
among them, use its cores; nothing overlaps; after each round every host sends its best to all
others.

core_seconds/STAGE: of one candidate, or of one score. device_seconds/STAGE: the same of stages that
ran on an accelerator here, and, no stage, of a score that is made there. seconds_first/STAGE: by
the clock, of all that were timed together, the first time, with compiling unless the cache of
programs had it. hours/HOSTS/STAGE and hours/HOSTS/total. share_of_hosts/HOSTS: of the total, what
stages of the host take.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen import pretrained
from nasgen.keys import children
from nasgen.models import mixture
from nasgen.networks import fitting
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.cell_generator import write_cells
from nasgen.pipeline.config import COMMON, MADE_UP, UserError, check, number, text, whole, wholes
from nasgen.pipeline.examples import examples_of, made_up_task
from nasgen.pipeline.fitness import accuracy_scores, describe, expected_accuracy
from nasgen.pipeline.generators import counted_limits, write_macros
from nasgen.pipeline.request import check_budget
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.pretrained.bundle import Bundle, load_bundle
from nasgen.report.card import table
from nasgen.report.markdown import REPORT
from nasgen.spaces import SPACES, graphs
from nasgen.spaces import macro as macro_space
from nasgen.types import Budget

OPEN = SPACES["open"]
_FEW = 4  # scores on an accelerator, whose programs are many to compile
RULES = {
    **COMMON,
    **MADE_UP,
    "pretrained": text(),
    "block": whole(8, 100_000),
    "num_scored": whole(2, 10_000),
    "score_batch": whole(2, 4096),
    "repeats": whole(1, 1000),
    "candidates": whole(1),
    "scored_share": number(0, 1, closed=True),
    "hosts": wholes(1, 1_000_000),
    "accelerators": whole(1, 1024),
    "host_cores": whole(1, 10_000),
    "device_speedup": number(0, above=True),
    "rounds": whole(1),
    "best": whole(1),
    "bytes_per_second": number(0, above=True),
    "seconds_per_message": number(0),
}


class Part(NamedTuple):
    """A stage: where it runs, and whether each candidate goes through it or the scored ones."""

    on_device: bool
    of_scored: bool = False


STAGES = {
    "write macro architectures": Part(True),
    "write cells": Part(True),
    "fit widths and count": Part(False),
    "rank": Part(False),
    "score": Part(False, of_scored=True),
}
THERE = "score on an accelerator"  # no stage: scores are made by the host


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Measures, then computes; writes results.json and report.md. Raises UserError for a config
    that is off and for weights that are not there."""
    check(config, RULES)
    try:
        pretrained.find(config.pretrained, "macro")
        check_budget(Budget(**config.budget.to_dict()), OPEN, made_up_task(config, "scale"))
        bundle = load_bundle(config.pretrained)
    except ValueError as error:
        raise UserError(str(error)) from None
    results: dict[str, Any] = measure(config, bundle)
    results |= simulate(config, results)
    (workdir.path / REPORT).write_text(_page(config, results), encoding="utf-8")
    write_results(workdir, results)


def measure(config: ConfigDict, bundle: Bundle) -> dict[str, float]:
    """Seconds of every stage for one candidate (one score), and the bytes of a packed one."""
    num, task = config.block, made_up_task(config, "scale")
    tasks, budgets = [task] * num, [Budget(**config.budget.to_dict())] * num
    keys = children(jax.random.key(config.seed), "macros", "conditions", "cells", "batch", "score")
    accelerated = jax.default_backend() != "cpu"
    found: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any], count: int) -> Any:
        on_device = accelerated and (name == THERE or STAGES[name].on_device)
        clock = time.perf_counter if on_device else time.process_time
        started = time.perf_counter()
        work()  # compiles
        found[f"seconds_first/{name}"] = time.perf_counter() - started
        started = clock()
        for _ in range(config.repeats):
            result = jax.block_until_ready(work())
        seconds = (clock() - started) / config.repeats / count
        found[f"{'device' if on_device else 'core'}_seconds/{name}"] = seconds
        return result

    written = timed(
        "write macro architectures",
        lambda: write_macros(bundle, keys["macros"], tasks, budgets),
        num,
    )
    macros = macro_space.take(written.macros, written.possible)
    clusters = macros.clusters[macros.repeats > 0]

    def cells_of():
        conditions = mixture.sample(keys["conditions"], bundle.cells.mixture, clusters)
        return write_cells(bundle.cells, keys["cells"], conditions)

    rows = len(macros.final_widths)
    cells = timed("write cells", cells_of, rows)
    limits = counted_limits(budgets[:rows])
    fitted = timed(
        "fit widths and count",
        lambda: fitting.fit(macros, cells, OPEN.ops, tasks[:rows], limits),
        rows,
    )
    some = graphs.unpack(cells)
    networks = macro_space.with_cells(macro_space.unpack(fitted.macros), some)
    plans = [make_plan(one, OPEN.ops, task) for one in networks[: config.num_scored]]

    def rank():
        own = [make_plan(one, OPEN.ops, task) for one in networks]
        known = np.array([describe(plan) for plan in own])
        return expected_accuracy(bundle.accuracy.unscored, known, 1_000)

    timed("rank", rank, rows)
    batch = examples_of(keys["batch"], task, config.score_batch)
    asked = task, *batch, keys["score"]
    timed("score", lambda: accuracy_scores(plans, *asked), len(plans))
    if accelerated:
        few, devices = plans[:_FEW], jax.local_devices()[:1]
        timed(THERE, lambda: accuracy_scores(few, *asked, devices=devices), len(few))
    arrays = [*jax.tree.leaves(fitted.macros), *jax.tree.leaves(cells)]
    sent = sum(np.asarray(one).nbytes for one in arrays) / rows
    return found | {"bytes_of_an_architecture": sent}


def simulate(config: ConfigDict, measured: dict[str, float]) -> dict[str, float]:
    """Hours of each stage and in all, for every number of hosts, by what `measure` found."""
    figures: dict[str, float] = {}
    sent = measured["bytes_of_an_architecture"]
    for hosts in config.hosts:
        hours, of_hosts = {}, 0.0
        for name, part in STAGES.items():
            share = config.scored_share if part.of_scored else 1.0
            work = config.candidates * share / 3600
            if f"device_seconds/{name}" in measured:
                work *= measured[f"device_seconds/{name}"]
                at_once = config.accelerators
            else:
                work *= measured[f"core_seconds/{name}"]
                devices = config.accelerators * config.device_speedup
                at_once = devices if part.on_device else config.host_cores
            hours[name] = work / (hosts * at_once)
            of_hosts += 0.0 if part.on_device else hours[name]
        received = config.best * sent * (hosts - 1) / config.bytes_per_second
        messages = config.seconds_per_message * (hosts - 1)
        hours["exchange"] = config.rounds * (received + messages) / 3600
        total = sum(hours.values())
        figures |= {f"hours/{hosts}/{name}": value for name, value in hours.items()}
        figures |= {f"hours/{hosts}/total": total, f"share_of_hosts/{hosts}": of_hosts / total}
    return figures


def _page(config: ConfigDict, results: dict[str, Any]) -> str:
    rows, device = [], jax.devices()[0].device_kind
    accelerated = any(name.startswith("device_seconds/") for name in results)
    for name in (*STAGES, "exchange", "total"):
        here = (results.get(f"{clock}_seconds/{name}") for clock in ("core", "device"))
        each = (f"{60 * results[f'hours/{hosts}/{name}']:.3g}" for hosts in config.hosts)
        rows.append((name, *("" if ms is None else f"{1000 * ms:.3g}" for ms in here), *each))
    hosts = (f"Minutes, {n} host{'s' * (n > 1)}" for n in config.hosts)
    header = ("Stage", "Core-ms here, each", "Device-ms here, each", *hosts)
    speed = (
        f"as fast as the {device} here"
        if accelerated
        else f"{config.device_speedup:g} times as fast as a core here in the stages that run on it"
    )
    words = (
        f"{config.candidates:,} candidates, of which {config.scored_share:.1%} are scored. "
        f"Assumed, not measured: {config.accelerators} accelerators a host, each {speed}; "
        f"{config.host_cores} cores a host, as fast as one here; {config.rounds} rounds, after "
        f"which every host sends its best {config.best:,} to all others at "
        f"{config.bytes_per_second:.3g} bytes a second. Neither compiling nor the pretraining of "
        "the generators is in it."
    )
    if accelerated:
        there = 1000 * results[f"device_seconds/{THERE}"]
        words += f" A score that is made on the {device} takes {there:.3g} ms."
    return "\n\n".join(["# Simulated cost at scale", words, table(header, rows, right=1)]) + "\n"
