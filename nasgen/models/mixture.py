"""A Gaussian mixture over conditions; its components are the clusters, the words for cells.

Fitted by expectation maximisation (scikit-learn), used as plain arrays. Conditions are
`[batch, condition]`, standardised.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from sklearn.mixture import GaussianMixture

from nasgen.keys import generator

AnyArray = Array | np.ndarray
Conditions = Float[AnyArray, "batch condition"]

RESTARTS = 3  # starts of a fit, the likeliest is kept
REGULARISATION = 1e-4  # added to variances, so that no component shrinks to a point


class Mixture(NamedTuple):
    """sum_k weights[k] N(means[k], covariances[k]); float32, NumPy or JAX arrays."""

    weights: Float[AnyArray, " cluster"]
    means: Float[AnyArray, "cluster condition"]
    covariances: Float[AnyArray, "cluster condition condition"]


def fit_mixture(conditions: Conditions, num_components: int, *, seed: int) -> Mixture:
    """The mixture with full covariances, heaviest component first.

    Raises ValueError where a condition is not finite or there are fewer cells than components.
    """
    return _heaviest_first(_fit(conditions, num_components, seed))


def _heaviest_first(fitted: GaussianMixture) -> Mixture:
    order = np.argsort(-fitted.weights_, kind="stable")
    parts = (fitted.weights_, fitted.means_, fitted.covariances_)
    return Mixture(*(part[order].astype(np.float32) for part in parts))


def _fit(conditions: Conditions, num_components: int, seed: int) -> GaussianMixture:
    values = np.asarray(conditions, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("`conditions` must be finite; got NaN or infinity.")
    if not 1 <= num_components <= len(values):
        raise ValueError(
            f"`num_components` must be in 1..{len(values)}, the number of cells; "
            f"got {num_components}."
        )
    mixture = GaussianMixture(
        num_components, n_init=RESTARTS, reg_covar=REGULARISATION, random_state=seed, max_iter=300
    )
    return mixture.fit(values)


class Point(NamedTuple):
    """A mixture on the curve: log-likelihoods are means over cells, in nats; bic as usual, lower
    being better: parameters log(cells) - 2 sum of log-likelihoods."""

    components: int
    log_likelihood: float
    held_out_log_likelihood: float
    bic: float


def choose_mixture(
    conditions: Conditions,
    held_out: Float[AnyArray, "held condition"],
    candidates: Sequence[int],
    *,
    seed: int,
) -> tuple[Mixture, list[Point]]:
    """The mixture whose number of components has the least BIC (Schwarz 1978), and the curve."""
    fits = [_fit(conditions, number, seed) for number in candidates]
    curve = [
        Point(
            number,
            float(one.score(np.asarray(conditions, np.float64))),
            float(one.score(np.asarray(held_out, np.float64))),
            float(one.bic(np.asarray(conditions, np.float64))),
        )
        for number, one in zip(candidates, fits, strict=True)
    ]
    return _heaviest_first(fits[int(np.argmin([point.bic for point in curve]))]), curve


@jax.jit
def component_log_probs(mixture: Mixture, conditions: Conditions) -> Float[Array, "batch cluster"]:
    """log(weights[k] N(condition; k)) in nats."""
    factors = jnp.linalg.cholesky(jnp.asarray(mixture.covariances))

    def one(condition, weight, mean, factor):
        white = jax.scipy.linalg.solve_triangular(factor, condition - mean, lower=True)
        log_scale = jnp.log(jnp.diagonal(factor)).sum()
        constant = 0.5 * condition.shape[-1] * math.log(2 * math.pi)
        return jnp.log(weight) - 0.5 * jnp.sum(white**2) - log_scale - constant

    over_clusters = jax.vmap(one, in_axes=(None, 0, 0, 0))
    weights, means = jnp.asarray(mixture.weights), jnp.asarray(mixture.means)
    return jax.vmap(over_clusters, in_axes=(0, None, None, None))(
        jnp.asarray(conditions), weights, means, factors
    )


def assign(mixture: Mixture, conditions: Conditions) -> Int[Array, " batch"]:
    """The most likely cluster of each condition."""
    return jnp.argmax(component_log_probs(mixture, conditions), axis=1)


def sample(
    key: Array, mixture: Mixture, clusters: Int[np.ndarray, " num"]
) -> Float[np.ndarray, "num condition"]:
    """A condition of each cluster in the list, float32 (drawn on the host: nothing compiles)."""
    factors = np.linalg.cholesky(np.asarray(mixture.covariances, np.float64))
    noise = generator(key).standard_normal((len(clusters), factors.shape[-1]))
    moved = np.einsum("nij,nj->ni", factors[clusters], noise)
    return (np.asarray(mixture.means)[clusters] + moved).astype(np.float32)
