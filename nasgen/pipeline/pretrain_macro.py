"""Pretraining of the second level on top of a generator of cells: draws networks over the ranges of
tasks and budgets, judges them (see `macro_quality`), trains the macro transformer and looks
whether it does as it is asked. A stage is skipped when it is whole; the training resumes at its
last checkpoint.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from nasgen import pretrained, processes
from nasgen.pipeline import macro_figures, macro_stages
from nasgen.pipeline.config import (
    COMMON,
    UserError,
    boolean,
    check,
    number,
    one_of,
    optional,
    text,
    whole,
    wholes,
)
from nasgen.pipeline.macro_networks import OPEN, ranges_of
from nasgen.pipeline.macro_quality import SOURCES
from nasgen.pipeline.pretrain_cells import TRAINING, card, check_ship, ship
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.pretrained.bundle import Bundle, load_accuracy, load_cells, save_macro, weights_hash

PART = "macro"
RULES = {
    **COMMON,
    "cells": text(),
    "fitness": one_of(SOURCES),
    "accuracy": optional(text()),
    "ship": boolean(),
    "name": text(),
    "num_cells": whole(100),
    "num_asked": whole(2, 100_000),
    "networks.num": whole(20),
    "networks.num_scored": whole(20),
    "networks.sizes": wholes(2, 1024),
    "networks.classes": wholes(2, 10_000),
    "networks.params": wholes(100, 10**12),
    "networks.macs": wholes(1000, 10**15),
    "networks.scored_sizes": wholes(2, 1024),
    "networks.scored_classes": wholes(2, 10_000),
    "networks.scored_macs": whole(1000),
    "networks.heavy_macs": whole(1000),
    "networks.batch": whole(2, 1024),
    **{f"macro.model.{size}": whole(1, 8192) for size in ("width", "depth", "heads")},
    "macro.max_slack": number(1),
    "macro.drop_probability": number(0, 1),
    **{f"macro.{key}": rule for key, rule in TRAINING.items()},
}
RANGES = ("sizes", "classes", "params", "macs")  # of `networks`: the least and the most


def stages(config: ConfigDict, folder: Path) -> list[Stage]:
    """All stages in order."""
    rows = [
        ("pool", macro_stages.sample_pool, ("pool.npz",)),
        ("draw", macro_stages.draw, ("drawn.npz", "scored.npz")),
        *SOURCES[config.fitness].stages(config),
        ("networks", macro_stages.judge_networks, ("networks.npz",)),
        ("macro", macro_stages.train_macro, ("macro.npz",)),
        ("asked", _asked, ()),
    ]
    alone = "pool", "draw", "networks", "asked"
    return [
        Stage(name, files, partial(function, config, folder), together=name not in alone)
        for name, function, files in rows
    ]


def _asked(config: ConfigDict, folder: Path) -> dict[str, float]:
    key = jax.random.fold_in(jax.random.key(config.seed), 8)
    ranges = ranges_of(config.networks)
    return macro_figures.asked(assemble(config, folder), key, ranges, config.num_asked)


def run(config: ConfigDict, workdir: Workdir) -> None:
    """All stages, then the weights, with those of the cells beside them, and results.json. Raises
    UserError for a config that is off and for cells that are not there."""
    check(config, RULES)
    _check_together(config)
    check_ship(config)
    folder = workdir.path
    wanted = stages(config, folder)
    run_stages(workdir, wanted)
    if not processes.is_first():
        return
    figures, total, compiling = {}, 0.0, 0.0
    for name in (one.name for one in wanted):
        stage = read_stage(folder, name)
        total += stage["seconds"]
        compiling += stage["seconds_compile"]
        figures |= {f"{name}/{key}": value for key, value in stage.items()}
    figures |= {"seconds_total": total, "seconds_compile": compiling}
    what = "nasgen's generator of macro architectures"
    for source in pretrained.find(config.cells, "cells"):
        shutil.copy(source, folder / f"cells{source.suffix}")
    about = {**card(config, what, figures), "cells_sha256": weights_hash(config.cells)}
    save_macro(folder / PART, assemble(config, folder), about)
    ship(config, folder, PART)
    write_results(workdir, figures)


def _loaded(load: Callable[[str], Any], config: ConfigDict, name: str) -> Any:
    try:
        return load(config[name])
    except ValueError as error:
        raise UserError(str(error).replace("`pretrained`", f"`config.{name}`")) from None


def _check_together(config: ConfigDict) -> None:
    """The rules that hold between keys, and with the cells."""
    space = _loaded(load_cells, config, "cells").space
    if config.accuracy is not None:
        _loaded(load_accuracy, config, "accuracy")
    if space != OPEN.name:
        raise UserError(f"`config.cells` must write cells of space open; got those of {space}.")
    for name in RANGES:
        ends = tuple(config.networks[name])
        if len(ends) != 2 or ends[0] > ends[1]:
            raise UserError(f"`config.networks.{name}` must be the least and the most; got {ends}.")
    if config.macro.model.width % config.macro.model.heads:
        raise UserError(
            f"`config.macro.model.heads` must divide macro.model.width = "
            f"{config.macro.model.width}; got {config.macro.model.heads}."
        )


def assemble(config: ConfigDict, folder: Path) -> Bundle:
    """The bundle of a finished run's files."""
    return Bundle(
        cells=load_cells(config.cells),
        fitness=config.fitness,
        words=macro_stages.load_words(folder),
        macro=macro_stages.load_macro(config, folder),
        macro_config=macro_stages.macro_config(config),
        surrogate=macro_stages.load_surrogate(folder),
        accuracy=None if config.accuracy is None else load_accuracy(config.accuracy),
    )
