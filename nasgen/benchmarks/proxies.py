"""How well every zero-cost proxy orders trained architectures, on three tabular benchmarks.

Each architecture is scored once, on one batch of CIFAR-10 images and with the same drawn weights as
its neighbours; the scores are compared with what its benchmark measured after training. On
NAS-Bench-201 they are also compared with the scores that others published for the same
architectures, and with our own of other weights and images: a proxy that does not agree with itself
cannot agree with what others drew. Scores that are not finite are left out; how many is reported.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from nasgen import statistics
from nasgen.benchmarks import scores, tables
from nasgen.benchmarks.scores import Job, Scored
from nasgen.benchmarks.tables import Table
from nasgen.keys import children, generator
from nasgen.networks.plan import Plan
from nasgen.networks.plans import nb101 as nb101_plans
from nasgen.networks.plans import nb201 as nb201_plans
from nasgen.networks.plans import transnas as transnas_plans
from nasgen.pipeline.config import COMMON, UserError, boolean, check, some_of, whole
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.proxies import PROXIES, Proxy
from nasgen.report import proxies as report
from nasgen.scoring import named
from nasgen.spaces import nb101, nb201, transnas
from nasgen.types import Cell, Task

SPACES = ("nb201", "nb101", "transnas_micro")
FILES = {"nb201": tables.NB201, "nb101": tables.NB101, "transnas_micro": tables.TRANSNAS}
PORT, AGAIN = "nb201_port", "nb201_port_again"
_SPACE_RULES = {
    "num": whole(2, tables.NB101_ROWS),
    "batch": whole(2, tables.CIFAR10_IMAGES),
    "size": whole(1, 256),
    "channels": whole(2, 1_024),
    "cells": whole(1, 20),
}
RULES = {
    **COMMON,
    "proxies": some_of(("all", *PROXIES)),
    "spaces": some_of(SPACES),
    "double": boolean(),
    "chunk": whole(1, 100_000),
    "timed": whole(0, 1_000),
    "bootstrap": whole(2, 100_000),
    "plots": boolean(),
    **{f"{space}.{key}": rule for space in SPACES for key, rule in _SPACE_RULES.items()},
    "nb201.num_port": whole(0, 725),
}


class Benchmark(NamedTuple):
    """A job and what its scores are compared with.

    measures: by data set or task, or (of `nb201_port`) published scores by proxy; of its repetition
        none.
    """

    job: Job
    measures: dict[str, Float[np.ndarray, " architectures"]]


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Scores, compares, writes results.json, report.md and the heat map.

    Raises UserError for a config that is off and for data that are missing.
    """
    check(config, RULES)
    benchmarks = prepare(config)
    found: dict[str, Scored] = {}
    for name, (job, _) in benchmarks.items():
        scores.run(workdir, job, config.chunk)
        found[name] = scores.read(workdir, job, config.chunk)
    seconds = {
        name: scores.time_passes(workdir, benchmark.job, config.timed)
        for name, benchmark in benchmarks.items()
        if config.timed and name not in (PORT, AGAIN)
    }
    results = {}
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    options = dict(key=key, num_samples=config.bootstrap)
    for name, benchmark in benchmarks.items():
        if name == PORT:
            results |= compare_published(found[PORT], found[AGAIN], benchmark, **options)
        elif name != AGAIN:
            results |= compare_accuracies(name, found[name], benchmark, **options)
    results |= {f"{s}/{p}/seconds_alone": t for s, row in seconds.items() for p, t in row.items()}
    report.write_report(workdir.path, results, figures=config.plots)
    write_results(workdir, results)


def prepare(config: ConfigDict) -> dict[str, Benchmark]:
    """The jobs of a config by name. Raises UserError before anything is scored."""
    tables.require(*(FILES[space] for space in config.spaces), tables.LOSSLESS)
    key = jax.random.key(config.seed)
    keys = children(key, *SPACES, PORT)  # a space's sample does not depend on which others run
    wanted = PROXIES if "all" in config.proxies else named(tuple(config.proxies))
    wanted = {"params": PROXIES["params"], **wanted}
    makers = {"nb201": _nb201, "nb101": _nb101, "transnas_micro": _transnas}
    benchmarks = {}
    for space in config.spaces:
        job = partial(_job, config, space, keys[space], proxies=wanted)
        benchmarks[space] = makers[space](config[space], keys[space], job)
    if "nb201" in config.spaces and config.nb201.num_port:
        tables.require(tables.NB201_PUBLISHED)
        published = tables.nb201_published()
        common = {name: wanted[name] for name in published.scores if name in wanted}
        rows = _choose(keys[PORT], len(published.architectures), config.nb201.num_port, "num_port")
        names = tables.nb201().architectures
        cells = [nb201.from_string(names[published.architectures[row]]) for row in rows]
        measures = {name: published.scores[name][rows] for name in common}
        draws = children(keys[PORT], PORT, AGAIN)
        for name, compared in ((PORT, measures), (AGAIN, {})):
            job = partial(_job, config, "nb201", draws[name])
            job = job(nb201_plans.make_plan, cells, name=name, proxies=common)
            benchmarks[name] = Benchmark(job, compared)
    return benchmarks


def _nb201(settings: ConfigDict, key: Key[Array, ""], make_job: Callable[..., Job]) -> Benchmark:
    table = _sampled(tables.nb201(), key, settings.num, "nb201.num")
    cells = [nb201.from_string(name) for name in table.architectures]
    return Benchmark(make_job(nb201_plans.make_plan, cells), table.measures)


def _nb101(settings: ConfigDict, key: Key[Array, ""], make_job: Callable[..., Job]) -> Benchmark:
    table = tables.nb101(_choose(key, tables.NB101_ROWS, settings.num, "nb101.num"))
    cells = [nb101.cell_from_matrix(matrix, ops) for matrix, ops in table.architectures]
    return Benchmark(make_job(nb101_plans.make_plan, cells), table.measures)


def _transnas(settings: ConfigDict, key: Key[Array, ""], make_job: Callable[..., Job]) -> Benchmark:
    table = _sampled(tables.transnas_micro(), key, settings.num, "transnas_micro.num")
    cells = [transnas.cell(digits) for digits in table.architectures]
    return Benchmark(make_job(transnas_plans.make_plan, cells), table.measures)


def _sampled(table: Table, key: Key[Array, ""], num: int, name: str) -> Table:
    """`num` random rows of a table; `name`: the key that asks for them."""
    rows = _choose(key, len(table.architectures), num, name)
    measures = {measure: values[rows] for measure, values in table.measures.items()}
    return Table([table.architectures[row] for row in rows], measures)


def _choose(key: Key[Array, ""], num_rows: int, num: int, name: str) -> np.ndarray:
    if num > num_rows:
        raise UserError(f"`config.{name}` must be at most {num_rows}, the table's rows; got {num}.")
    return generator(key).choice(num_rows, num, replace=False)


def _job(
    config: ConfigDict,
    space: str,
    key: Key[Array, ""],
    make_plan: Callable[..., Plan],
    cells: Sequence[Cell],
    *,
    proxies: dict[str, Proxy],
    name: str | None = None,
) -> Job:
    settings = config[space]
    keys = children(jax.random.fold_in(key, 1), "batch", "weights")
    try:
        batch = tables.cifar10_batch(generator(keys["batch"]), settings.batch, settings.size)
    except ValueError as error:
        raise UserError(f"`config.{space}`: {error}") from None
    task = Task("CIFAR-10", (settings.size, settings.size, 3), 10)
    options = dict(channels=settings.channels, cells=settings.cells)

    def make_plans(rows: range) -> list[Plan]:
        return [make_plan(cells[row], task, **options) for row in rows]

    options_of_job = (proxies, keys["weights"], *batch, config.double)
    return Job(name or space, len(cells), make_plans, *options_of_job)


def compare_accuracies(
    name: str, scored: Scored, benchmark: Benchmark, *, key: Key[Array, ""], num_samples: int
) -> dict[str, float]:
    """`<name>/<measure>/<proxy>/<statistic>` and what the job itself took and left out."""
    figures = _facts(name, scored)
    params = scored.values["params"]
    for proxy, values in scored.values.items():
        kept = np.isfinite(values)
        num = int(kept.sum())
        if num < 3:
            continue
        rng = generator(key)
        weights = statistics.bootstrap_weights(rng, num_samples, num)
        for measure, accuracies in benchmark.measures.items():
            found = statistics.agreement(values[kept], accuracies[kept], params[kept], weights)
            figures |= {f"{name}/{measure}/{proxy}/{n}": value for n, value in found.items()}
    return figures


def compare_published(
    scored: Scored, again: Scored, benchmark: Benchmark, *, key: Key[Array, ""], num_samples: int
) -> dict[str, float]:
    """`nb201/port/<proxy>/spearman_published` over the architectures that both have a score of, and
    `spearman_again` of ours with ours of other weights and images."""
    start = "nb201/port"
    figures = _facts(start, scored)
    for proxy, published in benchmark.measures.items():
        others = {"published": published, "again": again.values[proxy]}
        for other, values in others.items():
            kept = statistics.all_finite(scored.values[proxy], values)
            num, name = int(kept.sum()), f"{start}/{proxy}/spearman_{other}"
            if other == "published":
                figures[f"{start}/{proxy}/compared"] = num
            if num < 3:
                continue
            pair = scored.values[proxy][kept], values[kept]
            weights = statistics.bootstrap_weights(generator(key), num_samples, num)
            found = statistics.with_interval(statistics.spearman, *pair, weights)
            figures |= {f"{name}{end}": value for end, value in found.items()}
    return figures


def _facts(name: str, scored: Scored) -> dict[str, float]:
    """How many were scored, how quickly, and how many scores are not finite and why."""
    num = len(next(iter(scored.values.values())))
    figures = {f"{name}/num": num, f"{name}/seconds_each": scored.seconds}
    for proxy, values in scored.values.items():
        figures[f"{name}/{proxy}/left_out"] = int((~np.isfinite(values)).sum())
        if proxy in scored.reasons:
            figures[f"{name}/{proxy}/left_out_reasons"] = scored.reasons[proxy]
    return figures
