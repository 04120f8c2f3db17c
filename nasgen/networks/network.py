"""A plan as a network: pure functions for its weights and layers, and a Linen module around them.

Batch norm uses batch statistics in training and running ones (momentum 0.9) otherwise. A network
computes in the type of its images; given bfloat16 ones, its weights, its batch norms with their
statistics and its logits are float32 still. Weights are drawn as PyTorch draws them by default,
uniform within `1 / sqrt(fan_in)`, which is the initialisation that published zero-cost scores hold
for.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from nasgen.keys import generator
from nasgen.networks import ops
from nasgen.networks.plan import Layer, Plan, weight_shapes

Weights = dict[str, Array]
MOMENTUM = 0.9


def init_weights(key: Key[Array, ""], layer: Layer) -> Weights:
    """Fresh weights of one layer: kernels and biases uniform, scales one, shifts zero."""
    shapes, bound = weight_shapes(layer), _bound(layer)
    fixed = {"scale": jnp.ones, "shift": jnp.zeros}
    keys = dict(zip(shapes, jax.random.split(key, max(len(shapes), 1)), strict=False))
    return {
        name: fixed[name](shape)
        if name in fixed
        else jax.random.uniform(keys[name], shape, minval=-bound, maxval=bound)
        for name, shape in shapes.items()
    }


def _bound(layer: Layer) -> float:
    kernel = weight_shapes(layer).get("kernel", ())
    return 1 / math.sqrt(math.prod(kernel[:2] if layer.kind == "depthwise" else kernel[:-1]))


def linear_part(layer: Layer, weights: Weights, x: Array, *, lowering: str = "auto") -> Array:
    """The layer's linear map (convolution, pooling, ...) with its bias; no ReLU, no norm."""
    shape = dict(stride=layer.stride, dilation=layer.dilation, lowering=lowering)
    if layer.kind == "conv":
        y = ops.convolution(x, weights["kernel"], **shape)
    elif layer.kind == "depthwise":
        y = ops.depthwise(x, weights["kernel"], **shape)
    elif layer.kind == "avg_pool":
        y = ops.average_pool(x, kernel=layer.kernel, stride=layer.stride, lowering=lowering)
    elif layer.kind == "max_pool":
        y = ops.max_pool(x, kernel=layer.kernel, stride=layer.stride)
    elif layer.kind == "linear":
        y = x.mean((1, 2)) @ weights["kernel"]
    elif layer.kind == "pixelwise":
        y = (x.reshape(-1, x.shape[-1]) @ weights["kernel"]).reshape(*x.shape[:-1], -1)
    elif layer.kind == "upsample":
        y = ops.upsample(x, layer.crop)
    elif layer.kind == "squeeze":
        y = x.mean((1, 2), keepdims=True)
    elif layer.kind == "zero":
        size = (ops.out_size(n, layer.stride) for n in x.shape[1:3])
        y = jnp.zeros((x.shape[0], *size, layer.out_channels), x.dtype)
    elif layer.kind == "slice":
        y = x[..., : layer.out_channels]
    elif layer.kind == "place":
        y = ops.place(x, layer.out_channels, layer.offset)
    elif layer.kind == "shift":
        y = ops.shift(x)
    else:
        y = x
    return y + ops.per_channel(weights["bias"], y) if layer.bias else y


def norm_part(layer: Layer, weights: Weights, x: Array, mean: Array, variance: Array) -> Array:
    """The layer's batch norm with the given statistics (not for `norm="none"`)."""
    y = ops.normalise(x, mean, variance)
    if layer.norm != "affine":
        return y
    scale, shift = (ops.per_channel(weights[name], y) for name in ("scale", "shift"))
    return y * scale + shift


class _LayerModule(nn.Module):
    """One layer with its parameters and running statistics."""

    layer: Layer
    lowering: str = "auto"

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        layer = self.layer
        names = weight_shapes(layer)
        weights = {n: self.param(n, lambda key, n=n: init_weights(key, layer)[n]) for n in names}
        x = nn.relu(x) if layer.relu else x
        linear = {n: weights[n].astype(x.dtype) for n in names if n in ("kernel", "bias")}
        x, dtype = linear_part(layer, linear, x, lowering=self.lowering), x.dtype
        if layer.norm == "none":
            return x
        x = _exact(x)
        shape = (layer.out_channels,)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        variance = self.variable("batch_stats", "variance", jnp.ones, shape)
        if not train:
            return norm_part(layer, weights, x, mean.value, variance.value).astype(dtype)
        batch_mean, batch_variance = ops.moments(x)
        if not self.is_initializing():
            mean.value = MOMENTUM * mean.value + (1 - MOMENTUM) * batch_mean
            variance.value = MOMENTUM * variance.value + (1 - MOMENTUM) * batch_variance
        return norm_part(layer, weights, x, batch_mean, batch_variance).astype(dtype)


def _exact(x: Array) -> Array:
    """In float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class Network(nn.Module):
    """The network of a plan: images or series to logits; collections `params`, `batch_stats`.

    Logits are `[batch, classes]`, of a dense task `[batch, height, width, classes]`, of a dense
    task of series `[batch, length, classes]`."""

    plan: Plan
    lowering: str = "auto"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *places channels"], *, train: bool = False
    ) -> Float[Array, "batch *where classes"]:
        is_series = len(self.plan.input_shape) == 2
        values = [x[:, :, None] if is_series else x]
        for step in self.plan.steps:
            first, *others = (values[i] for i in step.inputs)
            if step.layer.kind == "excite":
                values.append(first * nn.sigmoid(others[0]))
                continue
            total = sum(others, first)
            module = _LayerModule(step.layer, self.lowering, name=step.name)
            values.append(module(total, train=train))
        logits = _exact(values[-1])
        return logits[:, :, 0] if is_series and logits.ndim == 4 else logits


def draw_weights(rng: np.random.Generator, layer: Layer) -> dict[str, np.ndarray]:
    """`init_weights` on the host, from a NumPy generator: nothing is compiled for a new shape."""
    fixed = {"scale": np.ones, "shift": np.zeros}
    bound = np.float32(_bound(layer))
    return {
        name: fixed[name](shape, np.float32)
        if name in fixed
        else (2 * rng.random(shape, np.float32) - 1) * bound
        for name, shape in weight_shapes(layer).items()
    }


def init_network(key: Key[Array, ""], plan: Plan) -> dict[str, dict]:
    """Fresh `{"params", "batch_stats"}` of a network, without tracing or compiling anything."""
    rng = generator(key)
    params, stats = {}, {}
    for step in plan.steps:
        weights = draw_weights(rng, step.layer)
        if weights:
            params[step.name] = weights
        if step.layer.norm != "none":
            shape = (step.layer.out_channels,)
            zeros, ones = np.zeros(shape, np.float32), np.ones(shape, np.float32)
            stats[step.name] = {"mean": zeros, "variance": ones}
    return jax.device_put({"params": params, "batch_stats": stats})
