"""Pretraining of the first level, from nothing to weights: samples and scores the cells of a space,
trains graph VAE, mixture and flow. A stage is skipped when it is whole; trainings resume at their
last checkpoint, scores at their last chunk.
"""

import os
import shutil
import sys
from functools import partial
from pathlib import Path

from ml_collections import ConfigDict

from nasgen import pretrained, processes
from nasgen.pipeline import cells_data, cells_figures, cells_fit, clusters
from nasgen.pipeline.config import (
    COMMON,
    UserError,
    boolean,
    check,
    flat,
    number,
    one_of,
    optional,
    text,
    whole,
    wholes,
)
from nasgen.pipeline.environment import environment
from nasgen.pipeline.measurements import load_measurements
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.workdir import Workdir, plain, write_results
from nasgen.pretrained.bundle import CellBundle, save_cells
from nasgen.report import cells as report
from nasgen.spaces import SPACES

PART = "cells"
_ENVIRONMENT = ("python", "packages", "backend", "cpu_count")  # what a card says of it
TRAINING = {
    "steps": whole(1),
    "batch_size": whole(8),
    "learning_rate": number(0, above=True),
    "weight_decay": number(0),
}
_VAE_SIZES = ("latent_dim", "width", "depth", "readout_width")
_DECODER_SIZES = ("decoder_width", "step_width", "step_depth")
RULES = {
    **COMMON,
    "space": one_of(SPACES),
    "ship": boolean(),
    "name": text(),
    "measured": optional(text()),
    "num_cells": whole(100),
    "num_labelled": whole(40),
    "num_again": whole(2),
    "chunk": whole(1),
    "num_mixture_cells": whole(100),
    "num_clusters": wholes(1, 1000),
    "skeleton.channels": wholes(1, 1024),
    "skeleton.strides": wholes(1, 2),
    "skeleton.repeats": wholes(1, 20),
    "skeleton.final_width": whole(1, 4096),
    "skeleton.size": whole(2, 256),
    "skeleton.batch": whole(2, 1024),
    "skeleton.num_classes": whole(2, 10_000),
    **{f"vae.model.{size}": whole(1, 8192) for size in _VAE_SIZES + _DECODER_SIZES},
    **{f"flow.model.{size}": whole(1, 8192) for size in ("width", "depth", "context_width")},
    "vae.loss.kl_weight": number(0),
    "vae.loss.triplet_weight": number(0),
    "vae.loss.condition_weight": number(0),
    "vae.loss.told_probability": number(0, 1),
    "vae.loss.blur": number(0),
    "flow.drop_probability": number(0, 1),
    "flow.spread": number(0),
    "flow.pairing": boolean(),
    "flow.pairing_weight": number(0),
    **{f"{part}.{k}": rule for part in ("vae", "flow") for k, rule in TRAINING.items()},
}


def stages(config: ConfigDict, folder: Path) -> list[Stage]:
    """All stages in order."""
    chunks = range(len(cells_data.chunks(config)))
    rows = [("cells", cells_data.sample_cells, ("cells.npz",))]
    rows += [
        (f"labels_{i:03d}", partial(cells_data.score_chunk, index=i), (cells_data.label_file(i),))
        for i in chunks
    ]
    rows += [
        ("again", cells_data.score_again, ("again.npz",)),
        ("vae", cells_fit.train_vae, ("vae.npz",)),
        ("metric", cells_fit.build_metric_space, ("metric.npz",)),
        ("flow", cells_fit.train_flow, ("flow.npz",)),
        ("figures", cells_figures.measure, ()),
        ("clusters", clusters.describe_clusters, (clusters.FILE,)),
    ]
    alone = "cells", "metric", "figures", "clusters"
    return [
        Stage(name, files, partial(function, config, folder), together=name not in alone)
        for name, function, files in rows
    ]


def run(config: ConfigDict, workdir: Workdir) -> None:
    """All stages, then weights, results.json and report.md. Raises UserError for a config that is
    off."""
    check(config, RULES)
    _check_together(config)
    check_ship(config)
    folder = workdir.path
    wanted = stages(config, folder)
    run_stages(workdir, wanted)
    if not processes.is_first():
        return
    figures = _figures(config, folder, [stage.name for stage in wanted])
    what = f"nasgen's generator of cells of space {config.space}"
    space = SPACES[config.space]
    found = clusters.load_clusters(folder, space)
    about = card(config, what, figures)
    about["clusters"] = [clusters.to_json(one, space) for one in found]
    save_cells(folder / PART, assemble(config, folder), about)
    ship(config, folder, PART)
    _write_page(config, folder, figures, found)
    write_results(workdir, figures)


def _write_page(config: ConfigDict, folder: Path, figures: dict, found: list) -> None:
    metric, space = cells_fit.load_metric(folder), SPACES[config.space]
    conditions = metric.condition_scaling.undo(metric.conditions)
    options = dict(space=space.name, ops=space.ops, names=cells_data.names_of(folder))
    report.write_report(folder, figures, found, metric.latents, conditions, **options)


def check_ship(config: ConfigDict) -> None:
    """Raises UserError where the weights could not be shipped in the end."""
    if config.ship and not os.access(pretrained.FOLDER, os.W_OK):
        raise UserError(f"`config.ship` needs a folder that can be written: {pretrained.FOLDER}.")


def card(config: ConfigDict, what: str, figures: dict) -> dict:
    """What a reader of the weights wants to know."""
    here = environment()
    return plain(
        {
            "what": what,
            "data": "cells sampled from the space; scores on crops of scikit-learn's photographs",
            "command": " ".join(["python", *sys.argv]),
            "seed": config.seed,
            "config": config.to_dict(),
            "figures": figures,
            "environment": {name: here[name] for name in _ENVIRONMENT},
        }
    )


def ship(config: ConfigDict, folder: Path, part: str) -> None:
    """Copies weights and card into nasgen, where the config asks for it."""
    if config.ship:
        for suffix in ("safetensors", "json"):
            target = pretrained.FOLDER / f"{part}_{config.name}.{suffix}"
            shutil.copy(folder / f"{part}.{suffix}", target)


def _check_together(config: ConfigDict) -> None:
    """The rules that hold between keys."""
    values = flat(config)
    for less, more in (("num_labelled", "num_cells"), ("num_mixture_cells", "num_cells")):
        if values[less] > values[more]:
            raise UserError(
                f"`config.{less}` must be at most {more} = {values[more]}; got {values[less]}."
            )
    if config.measured is not None:
        known = len(load_measurements(config.measured, SPACES[config.space]).values)
        if known > config.num_cells:
            raise UserError(
                f"`config.num_cells` must be at least the {known} that `measured` has; "
                f"got {config.num_cells}."
            )
    if max(config.num_clusters) > config.num_mixture_cells:
        raise UserError(
            f"`config.num_clusters` must be at most num_mixture_cells = "
            f"{config.num_mixture_cells}; got {config.num_clusters}."
        )
    for name in ("strides", "repeats"):
        if len(config.skeleton[name]) != len(config.skeleton.channels):
            raise UserError(
                f"`config.skeleton.{name}` must be as many as skeleton.channels = "
                f"{config.skeleton.channels}; got {config.skeleton[name]}."
            )


def _figures(config: ConfigDict, folder: Path, names: list[str]) -> dict:
    """Of all stages: the figures of the space under its name, the others under their stage's."""
    figures, total, compiling, scoring = {}, 0.0, 0.0, 0.0
    for name in names:
        stage = read_stage(folder, name)
        total += stage["seconds"]
        compiling += stage["seconds_compile"]
        if name.startswith("labels_"):
            scoring += stage["seconds"]
        elif name == "figures":
            figures |= {f"{config.space}/{k}": v for k, v in stage.items() if "seconds" not in k}
        else:
            figures |= {f"{name}/{key}": value for key, value in stage.items()}
    times = {"seconds_total": total, "seconds_compile": compiling, "labels/seconds": scoring}
    return {**figures, **times, "labels/num_labelled": config.num_labelled}


def assemble(config: ConfigDict, folder: Path) -> CellBundle:
    """The bundle of a finished run's files."""
    space = cells_fit.load_metric(folder)
    return CellBundle(
        space=SPACES[config.space].name,
        names=cells_data.names_of(folder),
        skeleton=cells_data.skeleton(config)._asdict(),
        vae=cells_fit.load_vae(config, folder),
        vae_config=cells_fit.vae_config(config, folder),
        flow=cells_fit.load_flow(config, folder),
        flow_config=cells_fit.flow_config(config, folder),
        conditions=space.condition_scaling,
        latents=space.latent_scaling,
        mixture=space.mixture,
        tolerances=space.tolerances,
    )
