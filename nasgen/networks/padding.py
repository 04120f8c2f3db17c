"""Widths in buckets: arrays of a network with zeros for the channels that programs add.

Programs are compiled for few widths (`bucket`); a padded channel holds zeros everywhere
and changes no result. Walks run on padded arrays; what leaves them is cropped here.
"""

import math
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
from jaxtyping import Float

from nasgen.networks import network
from nasgen.networks.plan import Layer, Plan, Step, weight_shapes

Weights = dict[str, np.ndarray]
_BUCKETS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 6144)


@cache
def bucket(width: int) -> int:
    """The padded width of `width` channels; up to three stay as they are (those of images)."""
    if width < 4:
        return width
    return next((b for b in _BUCKETS if b >= width), width)


def kernel_shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    """The arrays that walks use: kernel and bias, not the norm's scale and shift."""
    return weight_shapes(layer._replace(norm="none"))


def draw_weights(rng: np.random.Generator, plan: Plan) -> list[Weights]:
    """Fresh weights of every step, uniform within `1 / sqrt(fan_in)` (see `network`)."""
    return [network.draw_weights(rng, step.layer._replace(norm="none")) for step in plan.steps]


@lru_cache(maxsize=2**16)
def padded_layer(layer: Layer) -> Layer:
    """The layer with both widths in buckets; logits stay as many as there are classes."""
    logits = layer.kind in ("linear", "pixelwise")
    out = layer.out_channels if logits else bucket(layer.out_channels)
    return layer._replace(in_channels=bucket(layer.in_channels), out_channels=out)


def pad_plan(plan: Plan, weights: Sequence[Weights], *, dtype=np.float32) -> list[Weights]:
    """All weights of a plan with zeros for the channels that bucketing adds."""
    return [_pad_weights(s.layer, w, dtype) for s, w in zip(plan.steps, weights, strict=True)]


def _pad_weights(layer: Layer, weights: Weights, dtype) -> Weights:
    shapes = weight_shapes(padded_layer(layer))
    return {name: _pad_to(array, shapes[name], dtype) for name, array in weights.items()}


def _pad_to(array: np.ndarray, shape: tuple[int, ...], dtype) -> np.ndarray:
    if array.shape == shape:
        return np.asarray(array, dtype)
    padded = np.zeros(shape, dtype)
    padded[tuple(map(slice, array.shape))] = array
    return padded


def pad_images(images: np.ndarray, *, dtype=np.float32) -> np.ndarray:
    """Images with zeros for the channels that bucketing adds (none for up to three); series as
    images of one column."""
    images = images[:, :, None] if images.ndim == 3 else images
    return _pad_to(images, (*images.shape[:-1], bucket(images.shape[-1])), dtype)


def padded_units(step: Step) -> int:
    """Output units of a step that exist only through padding."""
    extra = padded_layer(step.layer).out_channels - step.layer.out_channels
    return extra * math.prod(step.out_size)


def padded_inputs(step: Step) -> int:
    """Input units of a step that exist only through padding."""
    extra = bucket(step.layer.in_channels) - step.layer.in_channels
    return extra * math.prod(step.in_size)


def crop(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The first entries along every axis."""
    return np.asarray(array)[tuple(map(slice, shape))]


def true_gradient(layer: Layer, dw: np.ndarray | None) -> Float[np.ndarray, "..."]:
    """A kernel's gradient at its true shape, from what `walk_backward` returns (on the host)."""
    shape = kernel_shapes(layer)["kernel"]
    if dw is None:
        return np.zeros(shape, np.float32)
    if layer.kind == "depthwise":
        dw = dw[: math.prod(layer.window)].reshape(*layer.window, -1)
    elif layer.kind == "conv":
        dw = dw.reshape(*layer.window, *dw.shape[-2:])
    return crop(dw, shape)
