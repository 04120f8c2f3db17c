"""Pretraining from nothing to shipped weights: samples and scores cells and networks, trains the
graph VAE, the flow and the macro transformer. A stage is skipped when it is whole; the three
trainings resume at their last checkpoint.
"""

import os
import shutil
import sys
from pathlib import Path

from ml_collections import ConfigDict

from nasgen import pretrained
from nasgen.pipeline import pretrain_cells as cells
from nasgen.pipeline import pretrain_macro as networks
from nasgen.pipeline.config import (
    COMMON,
    UserError,
    boolean,
    check,
    flat,
    number,
    one_of,
    text,
    whole,
    wholes,
)
from nasgen.pipeline.environment import environment
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.workdir import Workdir, plain, write_results
from nasgen.pretrained.bundle import Bundle, save_bundle

_ENVIRONMENT = ("python", "packages", "backend", "cpu_count")  # what a card says of it
_TRAINING = {
    "steps": whole(1),
    "batch_size": whole(8),
    "learning_rate": number(0, above=True),
    "weight_decay": number(0),
}
_VAE_SIZES = ("latent_dim", "width", "depth", "readout_width", "decoder_width", "step_width")
RULES = {
    **COMMON,
    "space": one_of(("open",)),  # the others have no macro level to learn
    "ship": boolean(),
    "name": text(),
    "num_cells": whole(100),
    "num_labelled": whole(20),
    "num_mixture_cells": whole(100),
    "num_clusters": whole(1, 1000),
    "skeleton.channels": wholes(1, 1024),
    "skeleton.strides": wholes(1, 2),
    "skeleton.final_width": whole(1, 1024),
    "skeleton.size": whole(2, 256),
    "skeleton.batch": whole(2, 1024),
    "skeleton.num_classes": whole(2, 10_000),
    **{f"vae.model.{size}": whole(1, 8192) for size in _VAE_SIZES},
    **{f"flow.model.{size}": whole(1, 8192) for size in ("width", "depth", "context_width")},
    **{f"macro.model.{size}": whole(1, 8192) for size in ("width", "depth", "heads")},
    "vae.loss.kl_weight": number(0),
    "vae.loss.triplet_weight": number(0),
    "vae.loss.condition_weight": number(0),
    "vae.loss.told_probability": number(0, 1),
    "vae.loss.blur": number(0),
    "networks.num": whole(20),
    "networks.num_scored": whole(20),
    "networks.sizes": wholes(2, 256),
    "networks.classes": wholes(2, 10_000),
    "networks.batch": whole(2, 1024),
    "networks.max_channels": whole(8, 1024),
    "networks.max_params": whole(100),
    "networks.max_macs": whole(1000),
    "networks.max_layers": whole(5),
    "macro.max_slack": number(1),
    "macro.drop_probability": number(0, 1),
    "flow.drop_probability": number(0, 1),
    **{f"{part}.{k}": rule for part in ("vae", "flow", "macro") for k, rule in _TRAINING.items()},
}

# stage: (its function, its files)
STAGES = {
    "cells": (cells.sample_cells, ("cells.npz",)),
    "labels": (cells.score_cells, ("labels.npz",)),
    "vae": (cells.train_vae, ("vae.npz",)),
    "metric": (cells.build_metric_space, ("metric.npz",)),
    "flow": (cells.train_flow, ("flow.npz",)),
    "networks": (networks.score_networks, ("networks.npz",)),
    "macro": (networks.train_macro, ("macro.npz",)),
}


def run(config: ConfigDict, workdir: Workdir) -> None:
    """All stages, then the weights and results.json. Raises UserError for a config that is off."""
    check(config, RULES)
    _check_together(config)
    if config.ship and not os.access(pretrained.FOLDER, os.W_OK):
        raise UserError(f"`config.ship` needs a folder that can be written: {pretrained.FOLDER}.")
    folder = workdir.path
    stages = [
        Stage(name, files, lambda function=function: function(config, folder))
        for name, (function, files) in STAGES.items()
    ]
    run_stages(workdir, stages)
    figures = _figures(folder)
    here = environment()
    card = {
        "what": f"nasgen's generative models of space {config.space}",
        "data": "cells sampled from the space; scores on crops of scikit-learn's photographs",
        "command": " ".join(["python", *sys.argv]),
        "seed": config.seed,
        "config": config.to_dict(),
        "figures": figures,
        "environment": {name: here[name] for name in _ENVIRONMENT},
    }
    bundle = assemble(config, folder)
    save_bundle(folder, "weights", bundle, plain(card))
    if config.ship:
        for suffix in ("safetensors", "json"):
            shutil.copy(folder / f"weights.{suffix}", pretrained.FOLDER / f"{config.name}.{suffix}")
    write_results(workdir, figures)


def _check_together(config: ConfigDict) -> None:
    """The rules that hold between keys."""
    values = flat(config)
    for less, more in (
        ("num_labelled", "num_cells"),
        ("num_clusters", "num_mixture_cells"),
        ("networks.num_scored", "networks.num"),
    ):
        if values[less] > values[more]:
            raise UserError(
                f"`config.{less}` must be at most {more} = {values[more]}; got {values[less]}."
            )
    if len(config.skeleton.channels) != len(config.skeleton.strides):
        raise UserError(
            "`config.skeleton.strides` must be as many as skeleton.channels = "
            f"{config.skeleton.channels}; got {config.skeleton.strides}."
        )
    if config.macro.model.width % config.macro.model.heads:
        raise UserError(
            f"`config.macro.model.heads` must divide macro.model.width = "
            f"{config.macro.model.width}; got {config.macro.model.heads}."
        )


def _figures(folder: Path) -> dict:
    figures, total, compile_total = {}, 0.0, 0.0
    for name in STAGES:
        stage = read_stage(folder, name)
        total += stage["seconds"]
        compile_total += stage["seconds_compile"]
        figures |= {f"{name}/{key}": value for key, value in stage.items()}
    return {**figures, "seconds_total": total, "seconds_compile": compile_total}


def assemble(config: ConfigDict, folder: Path) -> Bundle:
    """The bundle of a finished run's files."""
    conditions, latents, mixture, _ = cells.load_metric(folder)
    return Bundle(
        space=config.space,
        fitness=networks.FITNESS,
        vae=cells.load_vae(config, folder),
        vae_config=cells.vae_config(config),
        flow=cells.load_flow(config, folder),
        flow_config=cells.flow_config(config),
        macro=networks.load_macro(config, folder),
        macro_config=networks.macro_config(config),
        conditions=conditions,
        latents=latents,
        mixture=mixture,
        surrogate=networks.load_surrogate(folder),
    )
