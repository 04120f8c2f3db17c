"""Pretraining of the first level: cells, their conditions, the graph VAE, clusters, the flow.

Each function is a stage: it reads the files of earlier stages in `folder` and writes its own.

    cells.npz    nodes, adjacency, costs          labels.npz  index, scores of labelled cells
    vae.npz      params                           metric.npz  latents, conditions, clusters, ...
    flow.npz     params
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen.arrays import flatten
from nasgen.keys import children, generator
from nasgen.models import flow, graph_vae, metric, mixture
from nasgen.models.flow import FlowConfig
from nasgen.models.graph_order import reorder
from nasgen.models.graph_vae import VaeConfig
from nasgen.pipeline.chunks import decode_all, encode_all
from nasgen.pipeline.labels import CONDITIONS, Skeleton, cost_conditions, score_conditions
from nasgen.pipeline.pretrain_fit import fit_model, load_params
from nasgen.pretrained.bundle import Scaling, scaling_of
from nasgen.spaces import SPACES, graphs
from nasgen.training.progress import progress
from nasgen.training.state import averaged
from nasgen.types import CellBatch

NUM_COSTS = 2  # of CONDITIONS, the first are exact costs, the others scores


def skeleton(config: ConfigDict) -> Skeleton:
    """The labelling skeleton of a config."""
    return Skeleton(**config.skeleton.to_dict())


def vae_config(config: ConfigDict) -> VaeConfig:
    """Sizes of the VAE."""
    ops = SPACES[config.space].ops
    return VaeConfig(num_ops=len(ops), condition_dim=len(CONDITIONS), **config.vae.model.to_dict())


def flow_config(config: ConfigDict) -> FlowConfig:
    """Sizes of the flow."""
    sizes = config.flow.model.to_dict()
    return FlowConfig(config.vae.model.latent_dim, len(CONDITIONS), **sizes)


def sample_cells(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """Distinct cells in the decoder's order, with their exact costs in the skeleton."""
    space = SPACES[config.space]
    key = children(jax.random.key(config.seed), "cells")["cells"]
    drawn = graphs.canonicalize(space.sample(key, config.num_cells))
    first = np.unique(graphs.canonical_keys(drawn), return_index=True)[1]
    batch = graphs.take(drawn, np.sort(first))
    batch = CellBatch(*map(np.asarray, reorder(batch.nodes, batch.adjacency)))
    costs = cost_conditions(graphs.unpack(batch), space, skeleton(config))
    np.savez(folder / "cells.npz", nodes=batch.nodes, adjacency=batch.adjacency, costs=costs)
    return {"num_cells": len(costs), "uniqueness_of_sampler": len(costs) / config.num_cells}


def score_cells(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """SNIP-SNR and NWOT of a random part of the cells."""
    batch = load_cells(folder)
    keys = children(jax.random.fold_in(jax.random.key(config.seed), 1), "choice", "scores")
    index = generator(keys["choice"]).permutation(len(batch.nodes))[: config.num_labelled]
    cells = graphs.unpack(graphs.take(batch, index))
    with progress(len(cells), label="scoring cells") as report:
        scores = score_conditions(
            keys["scores"],
            cells,
            SPACES[config.space],
            skeleton(config),
            on_scored=lambda done: report(done, ""),
        )
    np.savez(folder / "labels.npz", index=index, scores=scores)
    return {"num_labelled": len(index), "num_not_finite": int((~np.isfinite(scores)).any(1).sum())}


def _dataset(config: ConfigDict, folder: Path) -> tuple[CellBatch, np.ndarray, np.ndarray]:
    """Cells, their conditions (NaN where not known), and the labelled index."""
    batch = load_cells(folder)
    with np.load(folder / "cells.npz") as cells, np.load(folder / "labels.npz") as labels:
        conditions = np.full((len(batch.nodes), len(CONDITIONS)), np.nan)
        conditions[:, :NUM_COSTS] = cells["costs"]
        scores = np.where(np.isfinite(labels["scores"]), labels["scores"], np.nan)
        conditions[labels["index"], NUM_COSTS:] = scores
        return batch, conditions, labels["index"]


def held_out(config: ConfigDict, num_cells: int) -> np.ndarray:
    """Which cells VAE, mixture and flow are not fitted on: a random part, labelled ones among them.
    (The networks of the second level are built of all cells.)"""
    key = children(jax.random.fold_in(jax.random.key(config.seed), 2), "held_out")["held_out"]
    held = np.zeros(num_cells, bool)
    held[generator(key).permutation(num_cells)[: num_cells // 20]] = True
    return held


def train_vae(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """The graph VAE, on labelled and unlabelled cells together; figures on held-out cells."""
    batch, raw, labelled = _dataset(config, folder)
    sizes, held = vae_config(config), held_out(config, len(raw))
    scaling = scaling_of(raw[~held])
    conditions = np.nan_to_num(scaling.apply(raw)).astype(np.float32)
    known = np.isfinite(raw)
    unlabelled = np.flatnonzero(~held)
    labelled = labelled[~held[labelled]]
    keys = children(jax.random.fold_in(jax.random.key(config.seed), 3), "init", "train", "data")
    data_key, settings = keys["data"], config.vae

    def batch_fn(step: int) -> dict[str, np.ndarray]:
        rng = generator(jax.random.fold_in(data_key, step))
        share = settings.batch_size // 4  # of labelled cells
        index = np.concatenate(
            [rng.choice(labelled, share), rng.choice(unlabelled, settings.batch_size - share)]
        )
        return {
            "nodes": batch.nodes[index],
            "adjacency": batch.adjacency[index],
            "conditions": conditions[index],
            "mask": known[index],
        }

    def loss_fn(params, model_state, one, key):
        loss, parts = metric.vae_loss(params, key, one, config=sizes, **settings.loss.to_dict())
        return loss, (model_state, parts)

    fitted = fit_model(
        loss_fn,
        graph_vae.init(keys["init"], sizes),
        batch_fn,
        keys["train"],
        settings,
        folder / "vae",
    )
    params = averaged(fitted.state)[0]
    np.savez(folder / "vae.npz", **flatten(params))
    return vae_figures(params, sizes, batch, raw, scaling, held)


def vae_figures(params, sizes: VaeConfig, batch, raw, scaling: Scaling, held) -> dict[str, float]:
    """On held-out cells: exact reconstruction, R2 of the regressor, latent against condition."""
    index = np.flatnonzero(held)
    held_cells = graphs.take(batch, index)
    mean = encode_all(params, sizes, *held_cells)
    decoded = graphs.canonical_keys(decode_all(params, sizes, mean))
    same = [a == b for a, b in zip(decoded, graphs.canonical_keys(held_cells), strict=True)]
    predicted = np.asarray(graph_vae.predict_conditions(params, mean, config=sizes))
    wanted = scaling.apply(raw[index])
    figures = {"exact_reconstruction": float(np.mean(same))}
    for column, name in enumerate(CONDITIONS):
        known = np.isfinite(wanted[:, column])
        error = np.square(predicted[known, column] - wanted[known, column]).mean()
        figures[f"r2/{name}"] = float(1 - error / wanted[known, column].var())
    return figures


def load_vae(config: ConfigDict, folder: Path):
    """The trained VAE's params."""
    return load_params(folder / "vae.npz", graph_vae.init, vae_config(config))


def build_metric_space(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """Latents and conditions of all cells (unknown scores from the regressor), and the clusters."""
    batch, raw, _ = _dataset(config, folder)
    sizes, params, held = vae_config(config), load_vae(config, folder), held_out(config, len(raw))
    scaling = scaling_of(raw[~held])
    latents = encode_all(params, sizes, batch.nodes, batch.adjacency)
    predicted = np.asarray(graph_vae.predict_conditions(params, latents, config=sizes))
    exact = scaling.apply(raw)
    conditions = np.where(np.isfinite(exact), exact, predicted)
    sample = conditions[~held][: config.num_mixture_cells]
    fitted = mixture.fit_mixture(sample, config.num_clusters, seed=config.seed)
    latent_scaling = scaling_of(latents[~held])
    np.savez(
        folder / "metric.npz",
        latents=latent_scaling.apply(latents),
        conditions=conditions,
        clusters=mixture.assign(fitted, conditions),
        **flatten({"conditions": scaling, "latents": latent_scaling}, "scaling"),
        **flatten(fitted, "mixture"),
    )
    return {"num_clusters": config.num_clusters}


def train_flow(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """The conditional flow on standardised latents; held-out log-likelihood in the figures."""
    sizes, settings = flow_config(config), config.flow
    with np.load(folder / "metric.npz") as file:
        latents, conditions = (file[n].astype(np.float32) for n in ("latents", "conditions"))
    held = held_out(config, len(latents))
    rows = np.flatnonzero(~held)
    keys = children(
        jax.random.fold_in(jax.random.key(config.seed), 4), "init", "train", "data", "eval"
    )

    def batch_fn(step: int) -> tuple[np.ndarray, np.ndarray]:
        index = generator(jax.random.fold_in(keys["data"], step)).choice(rows, settings.batch_size)
        return latents[index], conditions[index]

    def loss_fn(params, model_state, one, key):
        loss = flow.flow_matching_loss(
            params, key, *one, config=sizes, drop_probability=settings.drop_probability
        )
        return loss, (model_state, {})

    fitted = fit_model(
        loss_fn, flow.init(keys["init"], sizes), batch_fn, keys["train"], settings, folder / "flow"
    )
    params = averaged(fitted.state)[0]
    np.savez(folder / "flow.npz", **flatten(params))
    index = np.flatnonzero(held)[:256]
    nats = flow.log_prob(
        params,
        latents[index],
        conditions[index],
        config=sizes,
        key=keys["eval"],
        trace="hutchinson",
    )
    return {"held_out_log_prob": float(np.mean(nats))}


def load_flow(config: ConfigDict, folder: Path):
    """The trained flow's params."""
    return load_params(folder / "flow.npz", flow.init, flow_config(config))


def load_metric(folder: Path) -> tuple[Scaling, Scaling, mixture.Mixture, np.ndarray]:
    """Scalings of conditions and latents, the mixture, and each cell's cluster."""
    with np.load(folder / "metric.npz") as file:
        scalings = [
            Scaling(file[f"scaling/{name}/mean"], file[f"scaling/{name}/std"])
            for name in ("conditions", "latents")
        ]
        fields = [file[f"mixture/{field}"] for field in mixture.Mixture._fields]
        return *scalings, mixture.Mixture(*fields), file["clusters"]


def load_cells(folder: Path) -> CellBatch:
    """The sampled cells."""
    with np.load(folder / "cells.npz") as file:
        return CellBatch(file["nodes"], file["adjacency"])
