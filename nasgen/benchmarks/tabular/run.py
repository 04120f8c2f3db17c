"""What methods find on a tabular benchmark after so many queries, seed by seed.

A method sees validation, is charged the recorded seconds of every training, and is judged by the
test figure of the network that its validation picked. What the figures are called stands in
`figures`. The rows that each method asked for are kept, a data set and a seed at a time.
"""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen import pretrained
from nasgen.benchmarks import tables
from nasgen.benchmarks.tabular import BENCHMARKS, nb201
from nasgen.benchmarks.tabular.cell_writer import know_cells
from nasgen.benchmarks.tabular.designer import Settings
from nasgen.benchmarks.tabular.figures import Asked, collect, curves
from nasgen.benchmarks.tabular.methods import BEST_FIRST, METHODS, Bound, ask
from nasgen.benchmarks.tabular.sequence_writer import know_sequences
from nasgen.benchmarks.tabular.table import Table
from nasgen.benchmarks.tabular.writer import Known
from nasgen.pipeline.config import (
    COMMON,
    UserError,
    boolean,
    check,
    number,
    one_of,
    some_of,
    text,
    whole,
    wholes,
)
from nasgen.pipeline.stages import Stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_json, write_results
from nasgen.pretrained.bundle import CellBundle, load_cells
from nasgen.report import tabular as report
from nasgen.training.progress import progress

NAMES = tuple(dict.fromkeys(name for one in BENCHMARKS.values() for name in one.data_sets))
RULES = {
    **COMMON,
    "benchmark": one_of(BENCHMARKS),
    "data_sets": some_of(NAMES),
    "pretrained": text(),
    "methods": some_of(METHODS),
    "seeds": wholes(0, 2**31),
    "queries": whole(1, 100_000),
    "marks": wholes(1, 100_000),
    "bounds.devices": some_of(nb201.DEVICES),
    "bounds.share": number(0, 1, above=True),
    "bounds.queries": whole(1, 100_000),
    "bounds.methods": some_of(METHODS),
    "nasgen.first": whole(1, 10_000),
    "nasgen.batch": whole(1, 10_000),
    "nasgen.draws": whole(1, 100_000),
    "nasgen.mutants": whole(1, 100_000),
    "nasgen.sample": whole(10, 1_000_000),
    "nasgen.steps": whole(1, 100_000),
    "nasgen.batch_size": whole(2, 65_536),
    "nasgen.learning_rate": number(0, above=True),
    "plots": boolean(),
}
_FOLDER = "asked"


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Asks, then writes results.json, report.md and the picture. Raises UserError for a config that
    is off and for tables that are not there, before anything is asked."""
    check(config, RULES)
    benchmark = BENCHMARKS[config.benchmark]
    if not config.data_sets:
        raise UserError(
            f"`config.data_sets` must name at least one of {', '.join(benchmark.data_sets)}; "
            "got none."
        )
    for name in config.data_sets:
        if name not in benchmark.data_sets:
            raise UserError(
                f"`config.data_sets` must be among {', '.join(benchmark.data_sets)} for "
                f"{config.benchmark}; got {name!r}."
            )
    tables.require(*benchmark.files)
    bundle = _bundle(config)
    loaded = {name: benchmark.load(name) for name in config.data_sets}
    first = next(iter(loaded.values()))  # the networks are the same for every data set
    if bundle is None:
        known = know_sequences(jax.random.key(config.seed), first)
    else:
        known = know_cells(first, bundle)
    asked = {name: _on_table(config, workdir, table, known) for name, table in loaded.items()}
    bounded = _under_bounds(config, workdir, loaded, known)
    results = collect(config, loaded, asked, bounded)
    drawn = {
        data_set: {name: curves(table, one) for name, one in asked[data_set].items()}
        for data_set, table in loaded.items()
    }
    read = tuple(name for name in known.proxies if name not in first.costs)
    words = dict(sees=first.sees, timing=first.timing, read=read, published=benchmark.published)
    words |= dict(networks=len(first.networks), figures=config.plots)
    report.write_report(workdir.path, config.benchmark, results, drawn, **words)
    write_results(workdir, results)


def _bundle(config: ConfigDict) -> CellBundle | None:
    """The generator of the benchmark's cells; None where its networks are no cells."""
    space = BENCHMARKS[config.benchmark].space
    if space is None:
        return None
    try:
        pretrained.find(config.pretrained, "cells")
        bundle = load_cells(config.pretrained)
    except ValueError as error:
        raise UserError(str(error)) from None
    if bundle.space != space:
        raise UserError(
            f"`config.pretrained` must be a generator of cells of {space}; got one of "
            f"{bundle.space}."
        )
    return bundle


def _on_table(config: ConfigDict, workdir: Workdir, table: Table, known: Known) -> dict[str, Asked]:
    """What every method asked of a table without bounds."""
    return {
        name: _asked(config, workdir, table, known, name, None, config.queries)
        for name in config.methods
        if not name.startswith("proxy_") or name.removeprefix("proxy_") in known.proxies
    }


def _under_bounds(
    config: ConfigDict, workdir: Workdir, loaded: dict[str, Table], known: Known
) -> dict[str, dict[Bound, dict[str, Asked]]]:
    """What methods asked of each table under a bound on each device's latency."""
    found: dict[str, dict[Bound, dict[str, Asked]]] = {}
    for data_set, table in loaded.items():
        found[data_set] = {}
        for device in config.bounds.devices if table.latency else ():
            limit = float(np.quantile(table.latency[device], config.bounds.share))
            bound = Bound(device, limit)
            found[data_set][bound] = {
                name: _asked(config, workdir, table, known, name, bound, config.bounds.queries)
                for name in config.bounds.methods
            }
    return found


def _asked(
    config: ConfigDict,
    workdir: Workdir,
    table: Table,
    known: Known,
    name: str,
    bound: Bound | None,
    num: int,
) -> Asked:
    place = table.name.partition("/")[2] + (f"_{bound.device}" if bound else "")
    file = f"{_FOLDER}/{name}_{place}.json"
    work = partial(_ask_all, config, workdir.path / file, table, known, name, bound, num)
    run_stages(workdir, [Stage(f"{name}_{place}", (file,), work)])
    found = json.loads((workdir.path / file).read_text())
    return Asked([np.array(rows, int) for rows in found["rows"]], found["seconds"])


def _ask_all(
    config: ConfigDict,
    file: Path,
    table: Table,
    known: Known,
    name: str,
    bound: Bound | None,
    num: int,
) -> dict[str, Any]:
    """Every seed of a method on a table. Those that leave nothing to chance are asked once. What
    each seed asked is kept beside `file` until all are there, so that no seed is run twice."""
    file.parent.mkdir(exist_ok=True)
    settings, part = Settings(**config.nasgen.to_dict()), file.with_suffix(".part")
    kept = json.loads(part.read_text()) if part.exists() else {"rows": [], "seconds": []}
    chance = name != BEST_FIRST and not name.startswith("proxy_")
    seeds = config.seeds if chance else config.seeds[:1]
    with progress(len(seeds), label=f"{name}, {table.name}") as told:
        for number in range(len(kept["rows"]), len(seeds)):
            started = time.perf_counter()
            key = jax.random.fold_in(jax.random.key(seeds[number]), METHODS.index(name))
            options = dict(settings=settings, bound=bound)
            kept["rows"].append(ask(name, key, table, known, num, **options).tolist())
            kept["seconds"].append(time.perf_counter() - started)
            write_json(part, kept)
            told(number + 1, "")
    write_json(file, kept)
    part.unlink()
    return {"seeds": len(seeds)}
