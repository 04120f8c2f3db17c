"""The units of targets that are numbers.

A regression learns `(y - mean) / std`, so that learning rates and losses are the same whatever the
user measures in; its metrics are in the user's units. After the training the scale goes into the
weights of the last layer (`in_units`): whatever is exported then predicts in the user's units by
itself, be it read as source, StableHLO or ONNX, and nobody has to remember a number beside it.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PyTree

from nasgen.data.task import Dataset
from nasgen.types import KINDS


class Units(NamedTuple):
    """Of the training targets of each output, over examples and places. Where an output never
    changes its deviation is 1."""

    mean: Float[np.ndarray | Array, " outputs"]
    std: Float[np.ndarray | Array, " outputs"]


def units_of(data: Dataset) -> Units | None:
    """None where targets are classes or labels."""
    if KINDS[data.task.kind].loss != "mean_squared_error":
        return None
    y = data.train.y.reshape(-1, data.task.num_classes)
    mean = y.mean(0, dtype=np.float64).astype(np.float32)
    std = y.std(0, dtype=np.float64).astype(np.float32)
    return Units(mean, np.where(std > 0, std, np.float32(1)))


def standardised(
    y: Num[Array, "batch *target"], units: Units | None
) -> Num[Array, "batch *target"]:
    """Targets as they are learned; as they are where there are no units."""
    return y if units is None else (y - _wide(units.mean, y)) / _wide(units.std, y)


def restored(
    logits: Float[Array, "batch *target"], units: Units | None
) -> Float[Array, "batch *target"]:
    """Predictions in the targets' units."""
    return (
        logits if units is None else logits * _wide(units.std, logits) + _wide(units.mean, logits)
    )


def in_units(variables: PyTree, layer: str, units: Units) -> PyTree:
    """The variables of a network that predicts in the targets' units what this one predicts
    standardised.

    layer: that with `kernel` and `bias` which the logits come from, linearly. Raises ValueError
    where it has none.
    """
    weights = dict(variables["params"].get(layer, {}))
    if not {"kernel", "bias"} <= weights.keys():
        raise ValueError(
            f"`layer` must have a kernel and a bias to scale; {layer!r} has {sorted(weights)}."
        )
    mean, std = (np.asarray(one) for one in units)
    weights["kernel"] = np.asarray(weights["kernel"]) * std
    weights["bias"] = np.asarray(weights["bias"]) * std + mean
    return {**variables, "params": {**variables["params"], layer: weights}}


def _wide(values: Float[np.ndarray | Array, " outputs"], like: Array) -> Array:
    return jnp.asarray(values).reshape((1,) * (like.ndim - 1) + (-1,))
