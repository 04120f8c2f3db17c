"""Losses by `Task.loss`: pure functions of logits and targets, with a number for each example.

Logits are `[batch, *places, outputs]`; only dense kinds have places. The loss of an example is the
mean over its places, and over its outputs where each is predicted by itself, so that kinds and
sizes have losses of one order. Sums over examples are the caller's: a batch that was filled up
counts right by leaving out the numbers of what filled it.
"""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Num

Logits = Float[Array, "batch *places outputs"]
Targets = Num[Array, "batch *target"]
# loss(logits, targets) -> [batch]
Loss = Callable[[Logits, Targets], Float[Array, " batch"]]


def cross_entropy(logits: Logits, targets: Targets) -> Float[Array, " batch"]:
    """In nats. targets: the class of each place, or one distribution over the classes each."""
    whole = targets.ndim < logits.ndim
    of = optax.softmax_cross_entropy_with_integer_labels if whole else optax.softmax_cross_entropy
    return _mean(of(logits, targets))


def binary_cross_entropy(logits: Logits, targets: Logits) -> Float[Array, " batch"]:
    """In nats a label. targets: the probability of each label."""
    return _mean(optax.sigmoid_binary_cross_entropy(logits, targets))


def mean_squared_error(logits: Logits, targets: Logits) -> Float[Array, " batch"]:
    """Of standardised targets it is the part of their variance that is not explained."""
    return _mean((logits - targets) ** 2)


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "mean_squared_error": mean_squared_error,
}


def _mean(values: Float[Array, "batch *rest"]) -> Float[Array, " batch"]:
    return jnp.mean(values.reshape(len(values), -1), 1)
