"""The fits of the generator of cells: graph VAE, mixture, flow.

Each function is a stage: it reads the files of earlier stages in `folder` and writes its own.

    vae.npz     params
    metric.npz  latents and conditions of all cells (standardised), clusters, scalings, mixture,
                tolerances
    flow.npz    params
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from nasgen.arrays import flatten
from nasgen.keys import children, generator
from nasgen.models import flow, flow_pairing, graph_vae, metric, mixture
from nasgen.models.flow import FlowConfig
from nasgen.models.graph_vae import VaeConfig
from nasgen.models.mixture import Mixture
from nasgen.pipeline.cells_data import (
    Dataset,
    held_out,
    load_cells,
    load_dataset,
    load_weights,
    names_of,
)
from nasgen.pipeline.chunks import encode_all
from nasgen.pipeline.labels import CONDITIONS, NUM_COSTS
from nasgen.pipeline.pretrain_fit import fit_model, load_params
from nasgen.pipeline.workdir import save_arrays
from nasgen.pretrained.bundle import Scaling, scaling_of
from nasgen.spaces import SPACES
from nasgen.training.state import averaged

LABELLED_SHARE = 4  # one cell of a batch in so many has scores
COUNT_TOLERANCE = 0.01  # of log params and log MACs
MEASURED_TOLERANCE = 0.2  # standard deviations: the regressor, which judges them, knows no better


class Metric(NamedTuple):
    """The metric space of all cells, standardised. clusters: of each cell."""

    latents: Float[np.ndarray, "cells latent"]
    conditions: Float[np.ndarray, "cells condition"]
    clusters: Int[np.ndarray, " cells"]
    condition_scaling: Scaling
    latent_scaling: Scaling
    mixture: Mixture
    tolerances: Float[np.ndarray, " condition"]


def vae_config(config: ConfigDict, folder: Path) -> VaeConfig:
    """Sizes of the VAE."""
    sizes = config.vae.model.to_dict()
    return VaeConfig(SPACES[config.space].rules, condition_dim=len(names_of(folder)), **sizes)


def flow_config(config: ConfigDict, folder: Path) -> FlowConfig:
    """Sizes of the flow."""
    sizes = config.flow.model.to_dict()
    return FlowConfig(config.vae.model.latent_dim, len(names_of(folder)), **sizes)


def train_vae(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """The graph VAE, on labelled and unlabelled cells together."""
    data, sizes, settings = load_dataset(config, folder), vae_config(config, folder), config.vae
    scaling = scaling_of(data.conditions[~data.held])
    conditions = np.nan_to_num(scaling.apply(data.conditions)).astype(np.float32)
    known = np.isfinite(data.conditions)
    every, labelled = np.flatnonzero(~data.held), data.labelled[~data.held[data.labelled]]
    keys = children(jax.random.fold_in(jax.random.key(config.seed), 3), "init", "train", "data")

    def batch_fn(step: int) -> dict[str, np.ndarray]:
        rng = generator(jax.random.fold_in(keys["data"], step))
        share = settings.batch_size // LABELLED_SHARE
        some = rng.choice(labelled, share), rng.choice(every, settings.batch_size - share)
        index = np.concatenate(some)
        return {
            "nodes": data.cells.nodes[index],
            "adjacency": data.cells.adjacency[index],
            "conditions": conditions[index],
            "mask": known[index],
        }

    def loss_fn(params, model_state, one, key):
        loss, parts = metric.vae_loss(params, key, one, config=sizes, **settings.loss.to_dict())
        return loss, (model_state, parts)

    start = graph_vae.init(keys["init"], sizes)
    fitted = fit_model(loss_fn, start, batch_fn, keys["train"], settings, folder / "vae")
    params = averaged(fitted.state)[0]
    save_arrays(folder / "vae.npz", **flatten(params))
    return {"final_loss": fitted.history[-1]["loss"]}


def load_vae(config: ConfigDict, folder: Path):
    """The trained VAE's params."""
    return load_params(folder / "vae.npz", graph_vae.init, vae_config(config, folder))


def build_metric_space(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """Latents and conditions of all cells (unknown scores from the regressor), and the clusters: as
    many components as the criterion chooses."""
    data, sizes, params = (
        load_dataset(config, folder),
        vae_config(config, folder),
        load_vae(config, folder),
    )
    scaling = scaling_of(data.conditions[~data.held])
    latents = encode_all(params, sizes, *data.cells)
    predicted = np.asarray(graph_vae.predict_conditions(params, latents, config=sizes))
    exact = scaling.apply(data.conditions)
    conditions = np.where(np.isfinite(exact), exact, predicted)
    chosen, curve = mixture.choose_mixture(
        conditions[~data.held][: config.num_mixture_cells],
        conditions[data.held],
        config.num_clusters,
        seed=config.seed,
    )
    latent_scaling = scaling_of(latents[~data.held])
    np.savez(
        folder / "metric.npz",
        latents=latent_scaling.apply(latents).astype(np.float32),
        conditions=conditions.astype(np.float32),
        clusters=mixture.assign(chosen, conditions),
        **flatten({"conditions": scaling, "latents": latent_scaling}, "scaling"),
        **flatten(chosen, "mixture"),
        tolerances=tolerances(scaling, data, folder),
    )
    return {"num_clusters": len(chosen.weights), "mixture_curve": [p._asdict() for p in curve]}


def tolerances(scaling: Scaling, data: Dataset, folder: Path) -> Float[np.ndarray, " condition"]:
    """Of each standardised condition the error that says nothing: for scores the standard deviation
    over draws of weights and images, for counts `COUNT_TOLERANCE`, for what the user measured
    `MEASURED_TOLERANCE`."""
    scored = slice(NUM_COSTS, len(CONDITIONS))
    with np.load(folder / "again.npz") as again:
        both = data.conditions[again["rows"], scored], again["scores"]
    change = both[0] - both[1]
    change[~np.isfinite(change)] = np.nan
    noise = np.sqrt(np.nanmean(change**2, 0) / 2)
    known = np.concatenate([np.full(NUM_COSTS, COUNT_TOLERANCE), noise])
    known = known / scaling.std[: len(CONDITIONS)]
    own = np.full(len(data.names) - len(CONDITIONS), MEASURED_TOLERANCE)
    return np.concatenate([known, own]).astype(np.float32)


def load_metric(folder: Path) -> Metric:
    """The metric space."""
    with np.load(folder / "metric.npz") as file:
        scalings = [
            Scaling(file[f"scaling/{name}/mean"], file[f"scaling/{name}/std"])
            for name in ("conditions", "latents")
        ]
        fields = Mixture(*(file[f"mixture/{field}"] for field in Mixture._fields))
        parts = (file[name] for name in ("latents", "conditions", "clusters"))
        return Metric(*parts, *scalings, fields, file["tolerances"])


def train_flow(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """The conditional flow on standardised latents; held-out log-likelihood in the figures."""
    sizes, settings, space = flow_config(config, folder), config.flow, load_metric(folder)
    held = held_out(config, len(load_cells(folder).nodes))
    rows, weights = np.flatnonzero(~held), load_weights(folder)[~held]
    names = "init", "train", "data", "noise", "eval"
    keys = children(jax.random.fold_in(jax.random.key(config.seed), 4), *names)

    def batch_fn(step: int) -> tuple[np.ndarray, ...]:
        rng = generator(jax.random.fold_in(keys["data"], step))
        index = rng.choice(rows, settings.batch_size, p=weights / weights.sum())
        rng = generator(jax.random.fold_in(keys["noise"], step))
        latents = space.latents[index]
        latents = latents + settings.spread * rng.standard_normal(latents.shape, np.float32)
        batch = latents, space.conditions[index]
        if not settings.pairing:
            return batch
        return *batch, flow_pairing.paired_noise(rng, *batch, weight=settings.pairing_weight)

    def loss_fn(params, model_state, one, key):
        latents, conditions, *noise = one
        loss = flow.flow_matching_loss(
            params,
            key,
            latents,
            conditions,
            config=sizes,
            drop_probability=settings.drop_probability,
            noise=noise[0] if noise else None,
        )
        return loss, (model_state, {})

    start = flow.init(keys["init"], sizes)
    fitted = fit_model(loss_fn, start, batch_fn, keys["train"], settings, folder / "flow")
    params = averaged(fitted.state)[0]
    save_arrays(folder / "flow.npz", **flatten(params))
    index = np.flatnonzero(held)[:256]
    options = dict(config=sizes, key=keys["eval"], trace="hutchinson")
    nats = flow.log_prob(params, space.latents[index], space.conditions[index], **options)
    return {"held_out_log_prob": float(np.mean(nats))}


def load_flow(config: ConfigDict, folder: Path):
    """The trained flow's params."""
    return load_params(folder / "flow.npz", flow.init, flow_config(config, folder))
