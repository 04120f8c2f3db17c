"""What the graph VAE is trained on, so that its latents become a metric space (Xiang et al. 2024).

loss = reconstruction + kl_weight * KL(q(z | cell) || N(0, I)) + triplet_weight * triplet
     + condition_weight * MSE of the conditions that are known.

The triplet loss (margin on Euclidean distances of latent means) draws cells of like conditions
together: a positive lies within `radius` of the anchor's condition, a negative does not. Shapes:
latents `[batch, latent]`, conditions and masks `[batch, condition]`; masks are True where known.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from nasgen.models import graph_decoder, graph_vae
from nasgen.models.graph_vae import Params, VaeConfig

_EPSILON = 1e-6


def vae_loss(
    params: Params,
    key: Array,
    batch: dict[str, Array],
    *,
    config: VaeConfig,
    kl_weight: float = 0.01,
    free_nats: float = 0.0,
    triplet_weight: float = 3.0,
    condition_weight: float = 10.0,
    radius: float = 1.0,
    margin: float = 0.1,
    told_probability: float = 0.75,
    blur: float = 1.5,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Loss of one batch, a mean over its cells in nats, and its parts.

    batch: `nodes` and `adjacency` in the order of `graph_order.reorder`; standardised `conditions`
    and their `mask`. told_probability: how often the decoder is told the conditions it will be
    asked for, see `tell`. blur: see `blurred`. free_nats: of KL a latent dimension has for nothing.
    """
    noise_key, blur_key, told_key, triplet_key = jax.random.split(key, 4)
    nodes, adjacency = batch["nodes"], batch["adjacency"]
    conditions, mask = batch["conditions"], batch["mask"]
    mean, log_variance = graph_vae.encode(params, nodes, adjacency, config=config)
    noise = jax.random.normal(noise_key, mean.shape)
    latents = blurred(blur_key, mean + jnp.exp(0.5 * log_variance) * noise, blur)
    shown = mask & tell(told_key, mask, told_probability)
    told = graph_vae.told(nodes.shape[0], conditions, shown, config=config)
    likelihoods = partial(
        graph_decoder.log_likelihoods, params["decoder"], config=graph_vae.decoder_config(config)
    )
    log_ops, log_edges = jax.vmap(likelihoods)(latents, told, nodes, adjacency)
    predicted = graph_vae.predict_conditions(params, mean, config=config)
    parts = {
        "ops": -log_ops.mean(),
        "edges": -log_edges.mean(),
        "kl": kl_divergence(mean, log_variance, free_nats=free_nats).mean(),
        "triplet": triplet_loss(triplet_key, mean, conditions, mask, radius=radius, margin=margin),
        "condition": condition_loss(predicted, conditions, mask),
    }
    loss = parts["ops"] + parts["edges"] + kl_weight * parts["kl"]
    loss += triplet_weight * parts["triplet"] + condition_weight * parts["condition"]
    return loss, parts


def blurred(
    key: Array, latents: Float[Array, "batch latent"], blur: float
) -> Float[Array, "batch latent"]:
    """Every other row, on average, with noise of 0..`blur` standard deviations of the latents.

    A flow's samples lie farther from the cells than the encoder's: so the decoder meets such
    latents in training, and learns to make a cell of them that has the condition it was told. The
    encoder learns nothing from these rows, or it would spread the latents to drown the noise.
    """
    row_key, scale_key, noise_key = jax.random.split(key, 3)
    rows = (latents.shape[0], 1)
    scale = blur * jax.random.uniform(scale_key, rows)
    still = jax.lax.stop_gradient(latents)
    noise = scale * still.std(0, keepdims=True) * jax.random.normal(noise_key, latents.shape)
    return jnp.where(jax.random.bernoulli(row_key, 0.5, rows), still + noise, latents)


def tell(
    key: Array, mask: Bool[Array, "batch condition"], probability: float
) -> Bool[Array, "batch condition"]:
    """A random subset of each row: none with probability 1 - `probability`, else each with 1/2 or
    all, equally often."""
    row_key, all_key, each_key = jax.random.split(key, 3)
    rows = (mask.shape[0], 1)
    each = jax.random.bernoulli(each_key, 0.5, mask.shape)
    everything = jax.random.bernoulli(all_key, 0.5, rows)
    return jax.random.bernoulli(row_key, probability, rows) & (each | everything)


def kl_divergence(
    mean: Float[Array, "batch latent"],
    log_variance: Float[Array, "batch latent"],
    *,
    free_nats: float = 0.0,
) -> Float[Array, " batch"]:
    """KL(N(mean, variance) || N(0, I)) in nats; each dimension counts from `free_nats` on."""
    each = 0.5 * (mean**2 + jnp.exp(log_variance) - 1.0 - log_variance)
    return jnp.sum(jnp.maximum(each, free_nats), axis=-1)


def condition_loss(
    predicted: Float[Array, "batch condition"],
    conditions: Float[Array, "batch condition"],
    mask: Bool[Array, "batch condition"],
) -> Float[Array, ""]:
    """Mean squared error over the known conditions (0 where none is); others may be NaN.

    Each condition's own mean counts the same, however few cells know it.
    """
    error = jnp.where(mask, predicted - jnp.where(mask, conditions, 0.0), 0.0)
    known = mask.sum(0)
    means = (error**2).sum(0) / jnp.maximum(known, 1)
    return means.sum() / jnp.maximum((known > 0).sum(), 1)


def condition_distances(
    conditions: Float[Array, "batch condition"], mask: Bool[Array, "batch condition"]
) -> Float[Array, "batch batch"]:
    """Euclidean distances by the conditions that both cells know, scaled up to all of them.

    inf where two cells share none.
    """
    known = mask.astype(jnp.float32)
    values = jnp.where(mask, conditions, 0.0)
    both = known[:, None] * known[None]
    squared = (((values[:, None] - values[None]) ** 2) * both).sum(-1)
    shared = both.sum(-1)
    scaled = squared * conditions.shape[-1] / jnp.maximum(shared, 1.0)
    return jnp.where(shared > 0, jnp.sqrt(scaled), jnp.inf)


def triplet_loss(
    key: Array,
    latents: Float[Array, "batch latent"],
    conditions: Float[Array, "batch condition"],
    mask: Bool[Array, "batch condition"],
    *,
    radius: float = 1.0,
    margin: float = 0.1,
) -> Float[Array, ""]:
    """Mean of max(0, |anchor - positive| - |anchor - negative| + margin) over the batch's anchors.

    A positive and a negative are drawn for each anchor; anchors that lack either do not count.
    """
    positive_key, negative_key = jax.random.split(key)
    distances = condition_distances(conditions, mask)
    others = ~jnp.eye(len(latents), dtype=bool)
    near = others & (distances <= radius)
    far = others & (distances > radius) & jnp.isfinite(distances)
    positive = _draw(positive_key, near)
    negative = _draw(negative_key, far)
    gap = _distance(latents, latents[positive]) - _distance(latents, latents[negative])
    counts = near.any(1) & far.any(1)
    hinge = jnp.where(counts, jnp.maximum(gap + margin, 0.0), 0.0)
    return hinge.sum() / jnp.maximum(counts.sum(), 1)


def _draw(key: Array, allowed: Bool[Array, "batch batch"]) -> Array:
    """For each row a uniformly random allowed column (any, where none is allowed)."""
    return jnp.argmax(jnp.where(allowed, jax.random.uniform(key, allowed.shape), -1.0), axis=1)


def _distance(a: Float[Array, "batch latent"], b: Float[Array, "batch latent"]) -> Array:
    return jnp.sqrt(jnp.sum((a - b) ** 2, axis=-1) + _EPSILON)  # smooth where a = b
