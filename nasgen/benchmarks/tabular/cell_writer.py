"""Cells of a table by the shipped flow, to which accuracy becomes one more condition.

Nothing of the table is known but its cells. SNIP-SNR and NWOT, which the flow was pretrained with,
are read off a cell's latent by the regressor: scores that no network is built for.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from nasgen.benchmarks.tabular.features import features
from nasgen.benchmarks.tabular.table import Table
from nasgen.benchmarks.tabular.writer import DROPPED, Known, Refit, Writer, examples, train
from nasgen.keys import children, generator
from nasgen.models import flow, graph_vae
from nasgen.models.flow import FlowConfig
from nasgen.pipeline.chunks import chunked, encode_all
from nasgen.pretrained.bundle import CellBundle
from nasgen.spaces import graphs
from nasgen.types import Architecture, CellBatch

SCORES = ("log_snip_snr", "nwot")


def know_cells(table: Table, bundle: CellBundle) -> Known:
    """Encodes every cell of the table, which costs nothing but seconds."""
    raw = encode_all(bundle.vae, bundle.vae_config, *table.cells)
    predict = partial(graph_vae.predict_conditions, bundle.vae, config=bundle.vae_config)
    conditions = np.array(chunked(predict, raw))
    proxies = dict(zip(bundle.names, conditions.T, strict=True))
    latents = bundle.latents.apply(raw).astype(np.float32)
    params, config = flow.widen(bundle.flow, bundle.flow_config)
    writer = Writer(
        params,
        partial(_refit, latents, config),
        partial(_draw, table, bundle, config),
    )
    return Known(
        writer,
        np.concatenate([features(table), conditions], 1),
        sum(proxies[name] for name in SCORES),
        {name: proxies[name] for name in SCORES} | dict(table.costs),
        bundle,
    )


def _accuracy_alone(config: FlowConfig) -> Bool[np.ndarray, " condition"]:
    """The mask that gives the last condition."""
    return np.arange(config.condition_dim) == config.condition_dim - 1


def _refit(
    latents: Float[np.ndarray, "all latent"],
    config: FlowConfig,
    key: Key[Array, ""],
    params,
    rows: Int[np.ndarray, " rows"],
    accuracy: Float[np.ndarray, " rows"],
    settings: Refit,
):
    """The other conditions are not given."""
    keys = children(key, "rows", "steps")
    chosen = examples(keys["rows"], accuracy, settings)
    conditions = np.zeros((*chosen.shape, config.condition_dim), np.float32)
    conditions[..., -1] = accuracy[chosen]
    options = dict(loss_fn=partial(_loss, config), learning_rate=settings.learning_rate)
    return train(params, keys["steps"], (latents[rows[chosen]], conditions), **options)


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
    latents = bundle.latents.undo(latents).astype(jnp.float32)
    told = np.zeros((num, len(bundle.names)), np.float32)
    decoded = graph_vae.decode(
        bundle.vae, latents, told, told.astype(bool), config=bundle.vae_config
    )
    cells = graphs.unpack(CellBatch(*map(np.asarray, jax.device_get(decoded))))
    macro = table.architecture(0).macro
    rows = (table.row(Architecture(macro, (cell,))) for cell in cells)
    return np.unique([row for row in rows if row is not None]).astype(int)
