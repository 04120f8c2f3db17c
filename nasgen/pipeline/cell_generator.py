"""The first level at work: cells to order, neighbours of cells, densities, clusters.

Conditions are standardised here (`CellBundle.conditions`), `[batch, condition]`; a mask is True
where a condition is asked for, None means everywhere.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from nasgen.models import flow, graph_vae, mixture
from nasgen.models.graph_order import reorder
from nasgen.pipeline.chunks import chunked, encode_all
from nasgen.pipeline.labels import NUM_COSTS, Skeleton, cost_conditions
from nasgen.pretrained.bundle import CellBundle
from nasgen.spaces import SPACES, Space, graphs
from nasgen.types import CellBatch

Conditions = Float[np.ndarray, "batch condition"]
Mask = Bool[np.ndarray, "batch condition"] | None


def skeleton_of(bundle: CellBundle) -> Skeleton:
    """The network that the bundle's conditions are measured in."""
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in bundle.skeleton.items()}
    return Skeleton(**fields)


def in_order(space: Space, batch: CellBatch) -> CellBatch:
    """The same cells in an order that the decoder can learn: by `reorder`, or, where a space has
    but one wiring, as they are."""
    if space.rules.wiring is not None:
        return batch
    canonical = graphs.canonicalize(batch)
    return CellBatch(*map(np.asarray, reorder(canonical.nodes, canonical.adjacency)))


def write_cells(
    bundle: CellBundle,
    key: Key[Array, ""],
    conditions: Conditions,
    mask: Mask = None,
    *,
    guidance: float = 1.0,
    temperature: float = 1.0,
    candidates: int = 1,
) -> CellBatch:
    """A valid cell for each condition: a latent by the flow, then the decoder.

    guidance, temperature: see `flow.sample`. candidates: cells drawn for each request, of which the
    one nearest to it is kept, see `misses`.
    """
    mask = np.ones(np.shape(conditions), bool) if mask is None else np.asarray(mask)
    wanted = np.repeat(np.where(mask, conditions, 0).astype(np.float32), candidates, 0)
    asked = np.repeat(mask, candidates, 0)
    options = dict(guidance=guidance, temperature=temperature, free=not mask.any())
    draw = partial(_draw, bundle, key, **options)
    numbers = np.arange(len(wanted), dtype=np.uint32)
    if bundle.source == "sampler":
        batch = SPACES[bundle.space].sample(key, len(wanted))
    else:
        batch = CellBatch(*chunked(draw, wanted, asked, numbers))
    if candidates == 1:
        return batch
    errors = misses(bundle, batch, wanted, asked).reshape(-1, candidates)
    best = errors.argmin(1) + candidates * np.arange(len(errors))
    return graphs.take(batch, best)


def _draw(bundle: CellBundle, key, wanted, asked, numbers, *, free: bool, **options):
    """One chunk: the first number makes its key. free: nothing is asked for, of any row."""
    rows = (wanted[0], asked[0]) if free else (wanted, asked)
    own = jax.random.fold_in(key, numbers[0])
    if bundle.source == "prior":
        noise = jax.random.normal(own, (len(wanted), len(bundle.latents.mean)))
        return decode(bundle, bundle.latents.apply(noise), wanted, asked)
    options |= dict(config=bundle.flow_config, num=len(wanted))
    latents = flow.sample(bundle.flow, own, *rows, **options)
    return decode(bundle, latents, wanted, asked)


def decode(bundle: CellBundle, latents, wanted, asked=None):
    """Cells of standardised latents, told what is wanted."""
    latents = bundle.latents.undo(latents).astype(jnp.float32)
    return graph_vae.decode(bundle.vae, latents, wanted, asked, config=bundle.vae_config)


def conditions_of(bundle: CellBundle, batch: CellBatch) -> Conditions:
    """What these cells have: exact costs, and scores as the regressor reads them off the encoded
    cells; standardised."""
    space = SPACES[bundle.space]
    found = predicted_conditions(bundle, batch)
    costs = cost_conditions(graphs.unpack(batch), space, skeleton_of(bundle))
    scaling = bundle.conditions
    found[:, :NUM_COSTS] = (costs - scaling.mean[:NUM_COSTS]) / scaling.std[:NUM_COSTS]
    return found


def predicted_conditions(bundle: CellBundle, batch: CellBatch) -> Conditions:
    """All conditions by the regressor."""
    return regressed(bundle, encode_all(bundle.vae, bundle.vae_config, *batch))


def regressed(bundle: CellBundle, latents: Float[np.ndarray, "batch latent"]) -> Conditions:
    """All conditions of latents as `encode_all` gives them."""
    predict = partial(graph_vae.predict_conditions, bundle.vae, config=bundle.vae_config)
    return np.array(chunked(predict, latents))


def misses(
    bundle: CellBundle, batch: CellBatch, wanted: Conditions, mask: Bool[np.ndarray, "..."]
) -> Float[np.ndarray, " batch"]:
    """How far each cell lies from what was asked for: the Euclidean distance of `conditions_of` in
    units of the tolerances, so that counts weigh more than scores, which no one knows exactly."""
    errors = np.where(mask, conditions_of(bundle, batch) - wanted, 0) / bundle.tolerances[None]
    return np.sqrt(np.square(errors).sum(1))


def neighbours(
    bundle: CellBundle, key: Key[Array, ""], batch: CellBatch, *, temperature: float = 1.0
) -> CellBatch:
    """For each cell another one of the same condition, drawn by the flow (the paper's mutation)."""
    conditions = conditions_of(bundle, batch).astype(np.float32)
    if temperature == 1:
        return write_cells(bundle, key, conditions)
    latents = neighbour_latents(bundle, key, batch, conditions, temperature=temperature)
    return CellBatch(*chunked(partial(decode, bundle), latents, conditions))


def neighbour_latents(
    bundle: CellBundle,
    key: Key[Array, ""],
    batch: CellBatch,
    conditions: Conditions,
    *,
    temperature: float,
) -> Float[np.ndarray, "batch latent"]:
    """Standardised latents around those of the cells, under their conditions.

    temperature: below 1 the noise that the cell itself comes from is kept in part, so that at 0 the
    cell returns and with the temperature the distance grows; at 1 only the condition is kept.
    """
    latents = bundle.latents.apply(encode_all(bundle.vae, bundle.vae_config, *batch))
    numbers = np.arange(len(latents), dtype=np.uint32)

    def draw(rows, wanted, index):
        own = flow.invert(bundle.flow, rows, wanted, config=bundle.flow_config)
        fresh = jax.random.normal(jax.random.fold_in(key, index[0]), own.shape)
        noise = np.sqrt(1 - temperature**2) * own + temperature * fresh
        options = dict(config=bundle.flow_config, num_steps=flow.PRECISE_STEPS)
        return flow.carry(bundle.flow, noise, wanted, **options)

    return chunked(draw, latents.astype(np.float32), conditions, numbers)


def interpolate(bundle: CellBundle, ends: CellBatch, num: int) -> CellBatch:
    """`num` cells on the line between the latents of two, both included; the decoder is told of
    conditions on the line between theirs."""
    latents = bundle.latents.apply(encode_all(bundle.vae, bundle.vae_config, *ends))
    weights = np.linspace(0, 1, num, dtype=np.float32)[:, None]
    lines = (
        (1 - weights) * two[:1] + weights * two[1:]
        for two in (latents, conditions_of(bundle, ends))
    )
    return CellBatch(*chunked(partial(decode, bundle), *(np.float32(line) for line in lines)))


def log_prob(
    bundle: CellBundle, batch: CellBatch, conditions: Conditions, mask: Mask = None
) -> Float[np.ndarray, " batch"]:
    """log p(latent | condition) in nats of each cell's standardised latent, the trace exact."""
    latents = bundle.latents.apply(encode_all(bundle.vae, bundle.vae_config, *batch))
    mask = np.ones(np.shape(conditions), bool) if mask is None else mask
    evaluate = partial(flow.log_prob, bundle.flow, config=bundle.flow_config)
    wanted = np.where(mask, conditions, 0).astype(np.float32)
    return np.asarray(chunked(evaluate, latents.astype(np.float32), wanted, np.asarray(mask)))


def clusters_of(bundle: CellBundle, batch: CellBatch) -> Int[np.ndarray, " batch"]:
    """The likeliest cluster of each cell."""
    return np.asarray(mixture.assign(bundle.mixture, conditions_of(bundle, batch)))
