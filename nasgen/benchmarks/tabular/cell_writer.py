"""Cells of a table by the shipped flow, to which accuracy becomes one more condition.

Nothing of the table is known but its cells. SNIP-SNR and NWOT, which the flow was pretrained with,
are read off a cell's latent by the regressor: scores that no network is built for.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from nasgen.benchmarks.tabular.digits import ONE_CELL
from nasgen.benchmarks.tabular.features import features
from nasgen.benchmarks.tabular.table import Table
from nasgen.benchmarks.tabular.writer import DROPPED, Known, Writer, refitter, rows_written
from nasgen.keys import children, generator
from nasgen.models import flow
from nasgen.models.flow import FlowConfig
from nasgen.pipeline.cell_generator import decode, regressed
from nasgen.pipeline.chunks import encode_all
from nasgen.pretrained.bundle import CellBundle
from nasgen.spaces import graphs
from nasgen.types import Architecture, CellBatch

SCORES = ("log_snip_snr", "nwot")


def know_cells(table: Table, bundle: CellBundle) -> Known:
    """Encodes every cell of the table, which costs nothing but seconds."""
    raw = encode_all(bundle.vae, bundle.vae_config, *table.cells)
    conditions = regressed(bundle, raw)
    proxies = dict(zip(bundle.names, conditions.T, strict=True))
    latents = bundle.latents.apply(raw).astype(np.float32)
    params, config = flow.widen(bundle.flow, bundle.flow_config)
    refit = refitter(partial(_batch, latents, config), partial(_loss, config))
    params = jax.tree.map(jnp.asarray, params)  # of the kind that a refit gives: compiled once
    return Known(
        Writer(params, refit, partial(_draw, table, bundle, config)),
        np.concatenate([features(table), conditions], 1),
        sum(proxies[name] for name in SCORES),
        {name: proxies[name] for name in SCORES} | dict(table.costs),
        bundle,
    )


def _accuracy_alone(config: FlowConfig) -> Bool[np.ndarray, " condition"]:
    """The mask that gives the last condition."""
    return np.arange(config.condition_dim) == config.condition_dim - 1


def _batch(latents, config: FlowConfig, rows, accuracy) -> tuple[np.ndarray, np.ndarray]:
    """Latents and conditions, of which only the accuracy will be given."""
    conditions = np.zeros((*rows.shape, config.condition_dim), np.float32)
    conditions[..., -1] = accuracy
    return latents[rows], conditions


def _loss(config: FlowConfig, params, key, batch) -> Float[Array, ""]:
    options = dict(config=config, drop_probability=DROPPED)
    return flow.flow_matching_loss(params, key, *batch, _accuracy_alone(config), **options)


def _draw(
    table: Table,
    bundle: CellBundle,
    config: FlowConfig,
    key: Key[Array, ""],
    params,
    num: int,
    asked: Float[np.ndarray, "2"] | None = None,
) -> Int[np.ndarray, " rows"]:
    keys = children(key, "accuracy", "noise")
    mask = np.zeros((num, config.condition_dim), bool)
    wanted = np.zeros(mask.shape, np.float32)
    if asked is not None:
        mask[:] = _accuracy_alone(config)
        wanted[:, -1] = generator(keys["accuracy"]).uniform(*asked, num)
    latents = flow.sample(params, keys["noise"], wanted, mask, config=config)
    told = np.zeros((num, len(bundle.names)), np.float32)
    decoded = jax.device_get(decode(bundle, latents, told, told.astype(bool)))
    cells = graphs.unpack(CellBatch(*decoded))
    return rows_written(table, (Architecture(ONE_CELL, (cell,)) for cell in cells))
