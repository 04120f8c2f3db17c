"""The primitives that any network is run with: each a small function on one array shape, forward or
backward, which `programs` compiles.

They are cut where they can be shared: everything element-wise depends only on an array's shape, a
stride is a subsampling behind the unstrided map, and a depthwise convolution's input gradient is
the same program with the kernel flipped. Arrays are `[batch, height, width, channels]`; constants
come before arrays.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nasgen.networks import ops


def _relu(x):
    return jax.nn.relu(x)


def _relu_backward(x, g):
    return jnp.where(x > 0, g, 0)


def _add(_number, relu, *arrays):
    total = sum(arrays[1:], arrays[0])
    return jax.nn.relu(total) if relu else total


def _norm(x):
    """Fresh batch norm with batch statistics: the normalised value and 1 / standard deviation."""
    mean, variance = ops.moments(x)
    scale = lax.rsqrt(variance + ops.EPSILON)
    return (x - ops.per_channel(mean, x)) * ops.per_channel(scale, x), scale


def _norm_backward(y, scale, g):
    """The gradient by the value before batch norm from that by the normalised value `y`."""
    mean, slope, scale = (
        ops.per_channel(v, g) for v in (ops.channel_mean(g), ops.channel_mean(g * y), scale)
    )
    return (g - mean - y * slope) * scale


def _affine_norm(x, scale, shift):
    """Batch norm with batch statistics: its value, their mean and variance."""
    mean, variance = ops.moments(x)
    return _settled_norm(x, scale, shift, mean, variance), mean, variance


def _settled_norm(x, scale, shift, mean, variance):
    """Batch norm with given statistics."""
    y = ops.normalise(x, mean, variance)
    return y * ops.per_channel(scale, x) + ops.per_channel(shift, x)


def _affine_norm_backward(x, mean, variance, scale, g):
    """Gradients by the value before batch norm with batch statistics, by its scale, its shift."""
    number = x.size // x.shape[-1]
    y = ops.normalise(x, mean, variance)
    shift_mean, scale_mean = ops.channel_mean(g), ops.channel_mean(g * y)
    left = g - ops.per_channel(shift_mean, g) - y * ops.per_channel(scale_mean, g)
    dx = left * ops.per_channel(scale * lax.rsqrt(variance + ops.EPSILON), g)
    return dx, number * scale_mean, number * shift_mean


def _codes(x):
    """Of each pair of examples: the number of units with equal sign (padded units always agree).

    By 32 signs a word and counting bits that differ, one example against all at a time: exact for
    any number of units, and on a CPU three times as fast as a matmul of signs."""
    units = math.prod(x.shape[1:])
    num_words = -(-units // 32)
    flat = jnp.pad(x.reshape(x.shape[0], units), ((0, 0), (0, 32 * num_words - units)))
    bits = (flat.reshape(x.shape[0], 32, num_words) > 0).astype(jnp.uint32)
    places = jnp.arange(32, dtype=jnp.uint32)[None, :, None]
    words = lax.reduce(bits << places, np.uint32(0), lax.bitwise_or, (1,))
    count = lambda one: lax.population_count(words ^ one[None]).sum(1, dtype=jnp.uint32)  # noqa: E731
    return (jnp.uint32(units) - lax.map(count, words)).astype(x.dtype)


def _rescale(x):
    """An array that is nowhere negative over its mean (over one where all is zero), and the
    logarithm of what it was divided by."""
    mean = x.mean()
    scale = jnp.where(mean > 0, jnp.maximum(mean, jnp.finfo(x.dtype).tiny), 1)
    return x / scale, jnp.log(scale)


def _scale(x, factor):
    return x * factor


def _subsample(x):
    return x[:, ::2, ::2]


def _spread(height, width, g):
    """The gradient of `_subsample`: zeros between, up to `height` x `width` pixels."""
    spans = [(0, n - (2 * m - 1), 1) for n, m in zip((height, width), g.shape[1:3], strict=True)]
    return lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *spans, (0, 0, 0)])


def _pixel_mean(x):
    return x.mean((1, 2))


def _pixel_mean_backward(height, width, g):
    shape = (g.shape[0], height, width, g.shape[1])
    return jnp.broadcast_to(g[:, None, None] / (height * width), shape)


def _matmul(_out, x, kernel):
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], kernel.shape[-1])


def _matmul_input_gradient(inputs, g, kernel):
    return (g.reshape(-1, g.shape[-1]) @ kernel.T).reshape(*g.shape[:-1], inputs)


def _matmul_kernel_gradient(out, x, g):
    return x.reshape(-1, x.shape[-1]).T @ g.reshape(-1, out)


def _bias(x, bias):
    return x + ops.per_channel(bias, x)


def _depthwise(_rows, _columns, dilation, stride, relu, x, kernel):
    x = jax.nn.relu(x) if relu else x
    return ops.depthwise(x, kernel, stride=stride, dilation=dilation)


def _depthwise_gradient(relu, wide, x, g, corners, num_corners):
    """Sums of shifted products: the kernel's gradient, whatever its size and dilation (stride 1).

    `corners` lists the shifts, padded to 25; only the first `num_corners` are computed. wide: 0
    where they are all in one column."""
    padded, margins = _with_margins(jax.nn.relu(x) if relu else x, wide)
    return ops.shift_products(padded, g, corners + margins[None], num_corners)


def _with_margins(x, wide):
    """`x` with zeros around it as far as windows may reach, and where it begins in them."""
    rows, columns = MAX_SHIFT, MAX_SHIFT * wide
    padded = jnp.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    return padded, np.array([rows, columns], np.int32)


def _channel_products(relu, x, g):
    """Sums over batch and pixels: a depthwise kernel's gradient where it has one pixel."""
    return ((jax.nn.relu(x) if relu else x) * g).sum((0, 1, 2))[None]


MAX_CORNERS, MAX_SHIFT = 25, 4  # kernel 5, dilation 2


def _convolution(_out, _rows, _columns, stride, x, kernel):
    # Native, which has derivatives in a direction too (`dual`); only a gradient has another form.
    return ops.convolution(x, kernel, stride=stride, lowering="native")


def _convolution_input_gradient(height, width, stride, _rows, _columns, _in, g, kernel):
    x = jnp.zeros((g.shape[0], height, width, kernel.shape[2]), g.dtype)
    return jax.vjp(lambda x: ops.convolution(x, kernel, stride=stride), x)[1](g)[0]


def _convolution_kernel_gradient(out, rows, columns, stride, x, g):
    kernel = jnp.zeros((rows, columns, x.shape[3], out), g.dtype)
    return jax.vjp(lambda k: ops.convolution(x, k, stride=stride), kernel)[1](g)[0]


def _pool(kernel_size, stride, x):
    return ops.average_pool(x, kernel=kernel_size, stride=stride)


def _pool_backward(kernel_size, stride, height, width, g):
    shape = (g.shape[0], height, width, g.shape[3])
    pool = lambda x: ops.average_pool(x, kernel=kernel_size, stride=stride)  # noqa: E731
    return jax.vjp(pool, jnp.zeros(shape, g.dtype))[1](g)[0]


def _max_pool(kernel_size, stride, x):
    return ops.max_pool(x, kernel=kernel_size, stride=stride)


def _max_pool_backward(kernel_size, stride, x, g):
    return jax.vjp(partial(ops.max_pool, kernel=kernel_size, stride=stride), x)[1](g)[0]


def _channels(start, keep, offset, width, x):
    """Channels `start` to `start + keep`, from number `offset` on among `width`, others zero."""
    return ops.place(x[..., start : start + keep], width, offset)


def _upsample(rows, columns, x):
    """Each pixel as four, without the last rows and columns."""
    return ops.upsample(x, (rows, columns))


def _upsample_backward(g):
    batch, height, width, channels = g.shape
    g = jnp.pad(g, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    return g.reshape(batch, -(-height // 2), 2, -(-width // 2), 2, channels).sum((2, 4))


def _shift(by, x):
    """The image moved by one pixel, up and left (`by` 1) or back (-1); zeros enter."""
    return ops.shift(x, by)


def _patterns(x):
    """Signs of each unit over the batch, packed: bit `i % 32` of word `i // 32` is example `i`."""
    words = []
    for start in range(0, x.shape[0], 32):
        bits = (x[start : start + 32] > 0).astype(jnp.uint32)
        places = jnp.arange(bits.shape[0], dtype=jnp.uint32).reshape(-1, 1, 1, 1)
        words.append((bits << places).sum(0, dtype=jnp.uint32))
    return jnp.stack(words)


def _products(x, g):
    """Sum over pixels of `x * g`, `[batch, channels]`."""
    return (x * g).reshape(x.shape[0], -1, x.shape[-1]).sum(1)


def _distances(x, y):
    """Sum of |x - y| of each example."""
    return jnp.abs(x - y).reshape(x.shape[0], -1).sum(1)


def _covariance(x):
    """`[channels, channels]`, over batch and pixels."""
    rows = x.reshape(-1, x.shape[-1])
    rows = rows - rows.mean(0, keepdims=True)
    return rows.T @ rows / rows.shape[0]


def _transfer(stride, _out, x, y):
    """Mean over batch and pixels of `x y'`, `[stride * stride * in, out]`: `x` is `stride` times as
    fine as `y`, its pixels under one of `y` become channels (first axes: row, column)."""
    b, h, w, c = y.shape
    spans = [(0, 0), (0, stride * h - x.shape[1]), (0, stride * w - x.shape[2]), (0, 0)]
    x = jnp.pad(x, spans).reshape(b, h, stride, w, stride, -1).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b * h * w, -1).T @ y.reshape(-1, c) / (b * h * w)


def _cross_entropy_gradient(logits, labels):
    """Of the mean cross-entropy over examples and pixels, by the logits."""
    target = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return (jax.nn.softmax(logits) - target) / labels.size


def _binary_cross_entropy_gradient(logits, targets):
    """Of the mean over examples, pixels and classes, by the logits."""
    return (jax.nn.sigmoid(logits) - targets) / logits.size


def _mean_squared_error_gradient(logits, targets):
    return 2 * (logits - targets) / logits.size


# ---- each example alone in its batch: what couples examples, for all of them at once -------------


def _each_norm(x):
    """As `_norm`, with the statistics of each example's own pixels."""
    mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    scale = lax.rsqrt(variance + ops.EPSILON)
    return (x - mean) * scale, scale[:, 0, 0]


def _each_norm_backward(y, scale, g):
    mean, slope = (v.mean((1, 2), keepdims=True) for v in (g, g * y))
    return (g - mean - y * slope) * scale[:, None, None]


def _each_matmul_kernel_gradient(out, x, g):
    """`[batch, in, out]`."""
    rows = x.reshape(x.shape[0], -1, x.shape[-1])
    return jnp.einsum("bpi,bpo->bio", rows, g.reshape(x.shape[0], -1, out))


def _each_convolution_kernel_gradient(out, rows, columns, stride, x, g):
    """`[batch, rows, columns, in, out]`: a matmul for each pixel of the kernel."""
    (top, left), (height, width) = ((n - 1) // 2 for n in (rows, columns)), g.shape[1:3]
    x = jnp.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
    found = [
        _each_matmul_kernel_gradient(
            out, x[:, i : i + stride * height : stride, j : j + stride * width : stride], g
        )
        for i, j in ops.corners_of(rows, columns)
    ]
    return jnp.stack(found, 1).reshape(len(x), rows, columns, x.shape[-1], out)


def _each_depthwise_gradient(relu, wide, x, g, corners, num_corners):
    """`[batch, shifts, channels]`; see `_depthwise_gradient`."""
    padded, (top, left) = _with_margins(jax.nn.relu(x) if relu else x, wide)
    zero, batch, channels = jnp.int32(0), x.shape[0], x.shape[-1]

    def add_shift(i, total):
        start = zero, corners[i, 0] + top, corners[i, 1] + left, zero
        window = lax.dynamic_slice(padded, start, g.shape)
        return total.at[:, i].set((window * g).sum((1, 2)))

    start = jnp.zeros((batch, MAX_CORNERS, channels), g.dtype)
    return lax.fori_loop(zero, num_corners, add_shift, start)


def _each_channel_products(relu, x, g):
    """`[batch, 1, channels]`."""
    return ((jax.nn.relu(x) if relu else x) * g).sum((1, 2))[:, None]


class _Argument(NamedTuple):
    shape: tuple[int, ...]
    dtype: Any  # None: that of the signature


def _array(*shape: int, dtype=None) -> _Argument:
    return _Argument(shape, dtype)


def _strided(shape, stride: int) -> tuple[int, ...]:
    return (shape[0], *(ops.out_size(n, stride) for n in shape[1:3]), shape[3])


# name: (function, shapes of its array arguments by the signature's shape and constants)
PRIMITIVES: dict[str, tuple[Callable, Callable[..., tuple]]] = {
    "relu": (_relu, lambda s: (_array(*s),)),
    "relu_backward": (_relu_backward, lambda s: (_array(*s), _array(*s))),
    "add": (_add, lambda s, number, relu: (_array(*s),) * number),
    "norm": (_norm, lambda s: (_array(*s),)),
    "norm_backward": (_norm_backward, lambda s: (_array(*s), _array(s[-1]), _array(*s))),
    "affine_norm": (_affine_norm, lambda s: (_array(*s), _array(s[-1]), _array(s[-1]))),
    "affine_norm_backward": (
        _affine_norm_backward,
        lambda s: (_array(*s), *(_array(s[-1]),) * 3, _array(*s)),
    ),
    "settled_norm": (_settled_norm, lambda s: (_array(*s), *(_array(s[-1]),) * 4)),
    "codes": (_codes, lambda s: (_array(*s),)),
    "rescale": (_rescale, lambda s: (_array(*s),)),
    "scale": (_scale, lambda s: (_array(*s), _array())),
    "subsample": (_subsample, lambda s: (_array(*s),)),
    "spread": (_spread, lambda s, h, w: (_array(*s),)),
    "pixel_mean": (_pixel_mean, lambda s: (_array(*s),)),
    "pixel_mean_backward": (_pixel_mean_backward, lambda s, h, w: (_array(*s),)),
    "matmul": (_matmul, lambda s, out: (_array(*s), _array(s[-1], out))),
    "matmul_input_gradient": (
        _matmul_input_gradient,
        lambda s, inputs: (_array(*s), _array(inputs, s[-1])),
    ),
    "matmul_kernel_gradient": (
        _matmul_kernel_gradient,
        lambda s, out: (_array(*s), _array(*s[:-1], out)),
    ),
    "bias": (_bias, lambda s: (_array(*s), _array(s[-1]))),
    "depthwise": (_depthwise, lambda s, k, w, d, t, relu: (_array(*s), _array(k, w, s[-1]))),
    "depthwise_gradient": (
        _depthwise_gradient,
        lambda s, relu, wide: (
            _array(*s),
            _array(*s),
            _array(MAX_CORNERS, 2, dtype=jnp.int32),
            _array(dtype=jnp.int32),
        ),
    ),
    "channel_products": (_channel_products, lambda s, relu: (_array(*s), _array(*s))),
    "convolution": (
        _convolution,
        lambda s, out, k, w, t: (_array(*s), _array(k, w, s[-1], out)),
    ),
    "convolution_input_gradient": (
        _convolution_input_gradient,
        lambda s, h, w, t, k, v, i: (_array(*s), _array(k, v, i, s[-1])),
    ),
    "convolution_kernel_gradient": (
        _convolution_kernel_gradient,
        lambda s, out, k, w, t: (_array(*s), _array(*_strided(s, t)[:-1], out)),
    ),
    "pool": (_pool, lambda s, k, t: (_array(*s),)),
    "pool_backward": (_pool_backward, lambda s, k, t, h, w: (_array(*s),)),
    "max_pool": (_max_pool, lambda s, k, t: (_array(*s),)),
    "max_pool_backward": (
        _max_pool_backward,
        lambda s, k, t: (_array(*s), _array(*_strided(s, t))),
    ),
    "channels": (_channels, lambda s, *_: (_array(*s),)),
    "upsample": (_upsample, lambda s, *_: (_array(*s),)),
    "upsample_backward": (_upsample_backward, lambda s: (_array(*s),)),
    "shift": (_shift, lambda s, by: (_array(*s),)),
    "patterns": (_patterns, lambda s: (_array(*s),)),
    "products": (_products, lambda s: (_array(*s), _array(*s))),
    "distances": (_distances, lambda s: (_array(*s), _array(*s))),
    "covariance": (_covariance, lambda s: (_array(*s),)),
    "transfer": (
        _transfer,
        lambda s, t, out: (_array(*s), _array(*_strided(s, t)[:-1], out)),
    ),
    "cross_entropy_gradient": (
        _cross_entropy_gradient,
        lambda s: (_array(*s), _array(*s[:-1], dtype=jnp.int32)),
    ),
    "binary_cross_entropy_gradient": (
        _binary_cross_entropy_gradient,
        lambda s: (_array(*s), _array(*s)),
    ),
    "mean_squared_error_gradient": (
        _mean_squared_error_gradient,
        lambda s: (_array(*s), _array(*s)),
    ),
    "each_norm": (_each_norm, lambda s: (_array(*s),)),
    "each_norm_backward": (
        _each_norm_backward,
        lambda s: (_array(*s), _array(s[0], s[-1]), _array(*s)),
    ),
}
# The others take what the primitives take whose names they carry on.
PRIMITIVES |= {
    f"each_{name}": (function, PRIMITIVES[name][1])
    for name, function in {
        "matmul_kernel_gradient": _each_matmul_kernel_gradient,
        "convolution_kernel_gradient": _each_convolution_kernel_gradient,
        "depthwise_gradient": _each_depthwise_gradient,
        "channel_products": _each_channel_products,
    }.items()
}
