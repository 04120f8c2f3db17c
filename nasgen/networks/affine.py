"""Batch norms with their scale and shift in walks, for networks that are trained.

Weights are as in `walks`, with `scale` and `shift` where a layer's norm is affine; a plain norm
runs the same programs with ones and zeros.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from nasgen.networks.padding import Weights
from nasgen.networks.walks import Norm, Tensor

Statistics = dict[int, tuple[np.ndarray, np.ndarray]]  # of a step: mean and variance


def batch_norm(
    weights: Sequence[Weights],
    gradients: dict[int, tuple[Tensor, Tensor]] | None = None,
    seen: dict[int, tuple[Tensor, Tensor]] | None = None,
) -> Norm:
    """With batch statistics. Steps leave the gradients by scale and shift in `gradients`, the mean
    and variance of their batch in `seen`."""

    def forward(run, index: int, x: Tensor):
        value, mean, variance = run("affine_norm", (), x, *_scale_shift(weights[index], x))
        if seen is not None:
            seen[index] = mean, variance
        return value, (x, mean, variance)

    def backward(run, index: int, _value: Tensor, kept, g: Tensor) -> Tensor:
        scale, _ = _scale_shift(weights[index], g)
        dx, by_scale, by_shift = run("affine_norm_backward", (), *kept, scale, g)
        if gradients is not None:
            gradients[index] = by_scale, by_shift
        return dx

    return Norm(forward, backward)


def settled_norm(weights: Sequence[Weights], statistics: Statistics) -> Norm:
    """In evaluation mode, with these statistics; there is no way back."""

    def forward(run, index: int, x: Tensor):
        arrays = *_scale_shift(weights[index], x), *statistics[index]
        return run("settled_norm", (), x, *arrays), None

    def backward(*_):
        raise NotImplementedError("in evaluation mode there is no way back")

    return Norm(forward, backward)


def _scale_shift(weights: Weights, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    if "scale" in weights:
        return weights["scale"], weights["shift"]
    return ones_zeros(x.shape[-1])


@cache
def ones_zeros(width: int) -> tuple[np.ndarray, np.ndarray]:
    """The scale and shift that change nothing."""
    return np.ones(width, np.float32), np.zeros(width, np.float32)
