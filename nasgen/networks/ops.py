"""The kernels that every network is made of, each with a lowering per backend.

Arrays are NHWC, dense kernels HWIO, depthwise kernels `[rows, columns, channels]`; a series is one
column of pixels, its kernels have one column too. Padding is symmetric, `dilation * (k - 1) / 2` on
each side, so stride 1 keeps the size and stride 2 halves it, rounding up.

Why lowerings: XLA's CPU backend runs a grouped convolution 10-30 times slower than the same sum
written as shifted multiply-adds, a 1x1 convolution up to 3 times slower than a matmul, and pooling
3-9 times slower than shifted sums along one side after the other. Dense 3x3 and 5x5 convolutions
are best left to it, but for the kernel's gradient, which is 2-3 times slower than a matmul of
patches, some examples at a time. On GPU and TPU every native operation is best. `uses_shifts` is
the one place that decides; `benchmarks/lowerings` measures all of it.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

EPSILON = 1e-5  # of batch norm
_platform: ContextVar[str | None] = ContextVar("platform", default=None)


@contextmanager
def lowered_for(platform: str) -> Iterator[None]:
    """In it, what is traced is for that platform (`cpu`, ...), not for JAX's default one."""
    token = _platform.set(platform)
    try:
        yield
    finally:
        _platform.reset(token)


def uses_shifts(lowering: str = "auto") -> bool:
    """Whether to write convolutions as shifts and matmuls (`lowering`: auto, shifts, native)."""
    if lowering not in ("auto", "shifts", "native"):
        raise ValueError(f"`lowering` must be auto, shifts or native; got {lowering!r}.")
    if lowering != "auto":
        return lowering == "shifts"
    return (_platform.get() or jax.default_backend()) == "cpu"


def per_channel(vector: Float[Array | np.ndarray, " channels"], x: Array) -> Array:
    """One number a channel, with as many axes as `x` (ranks are never promoted silently)."""
    return lax.expand_dims(vector, range(x.ndim - 1))


def out_size(size: int, stride: int) -> int:
    """Pixels along one side after a convolution or pooling with this stride."""
    return -(-size // stride)


def convolution(
    x: Float[Array, "batch height width in"],
    kernel: Float[Array, "rows columns in out"],
    *,
    stride: int = 1,
    dilation: int = 1,
    lowering: str = "auto",
) -> Float[Array, "batch height2 width2 out"]:
    """Dense convolution."""
    if kernel.shape[:2] == (1, 1) and uses_shifts(lowering):
        x = x[:, ::stride, ::stride]
        # Flat rows: the kernel's gradient is then one matmul, four times faster than over pixels.
        return (x.reshape(-1, x.shape[-1]) @ kernel[0, 0]).reshape(*x.shape[:-1], -1)
    if uses_shifts(lowering) and _is_large(x):
        return _large_convolution(stride, dilation, x, kernel)
    return _native(x, kernel, stride, dilation, groups=1)


_LARGE, _PATCHES = 2**17, 512  # numbers of an input; patches at once, as measured


def _is_large(x: Array) -> bool:
    """False for a batch of any size, which is exported and has no gradients."""
    return all(isinstance(n, int) for n in x.shape) and math.prod(x.shape) > _LARGE


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _large_convolution(stride: int, dilation: int, x, kernel):
    return _native(x, kernel, stride, dilation, groups=1)


def _large_forward(stride, dilation, x, kernel):
    return _large_convolution(stride, dilation, x, kernel), (x, kernel)


def _large_backward(stride, dilation, residuals, g):
    x, kernel = residuals
    of_x = lambda x: _native(x, kernel, stride, dilation, groups=1)  # noqa: E731
    return jax.vjp(of_x, x)[1](g)[0], _patch_products(x, g, kernel.shape, stride, dilation)


def _patch_products(x, g, shape: tuple[int, ...], stride: int, dilation: int):
    """The kernel's gradient: patches of `x` times `g`, summed over some examples at a time. Sums of
    bfloat16 are float32, as they are in native convolutions."""
    rows, columns = _margins(shape, dilation)
    batch, out = g.shape[0], g.shape[1:3]
    some = _divisor(batch, max(_PATCHES // math.prod(out), 1))
    wide = jnp.promote_types(x.dtype, jnp.float32)
    padded, zero = _pad(x, rows, rows, columns, columns), jnp.int32(0)
    corners = dilation * corners_of(*shape[:2])

    def add(n, total):
        part = lax.dynamic_slice_in_dim(padded, n * some, some)
        windows = [_window(part, int(i), int(j), out, stride) for i, j in corners]
        patches = jnp.concatenate(windows, -1).reshape(-1, total.shape[0])
        grown = lax.dynamic_slice_in_dim(g, n * some, some).reshape(-1, g.shape[-1])
        return total + jnp.matmul(patches.T, grown, preferred_element_type=wide)

    start = jnp.zeros((math.prod(shape[:3]), shape[3]), wide)
    total = lax.fori_loop(zero, jnp.int32(batch // some), add, start)
    return total.reshape(shape).astype(x.dtype)


_large_convolution.defvjp(_large_forward, _large_backward)


def _native(x, kernel, stride: int, dilation: int, *, groups: int):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad) for pad in _margins(kernel.shape, dilation)],
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _margins(shape: tuple[int, ...], dilation: int) -> tuple[int, int]:
    """Rows and columns of padding on each side, for a kernel of that shape."""
    rows, columns = (dilation * (k - 1) // 2 for k in shape[:2])
    return rows, columns


def depthwise(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels"],
    *,
    stride: int = 1,
    dilation: int = 1,
    lowering: str = "auto",
) -> Float[Array, "batch height2 width2 channels"]:
    """Depthwise convolution, one filter a channel."""
    if uses_shifts(lowering):
        # Sums of bfloat16 are float32, as they are in native convolutions.
        wide = jnp.promote_types(x.dtype, jnp.float32)
        y = _shifted_depthwise(stride, dilation, x.astype(wide), kernel.astype(wide))
        return y.astype(x.dtype)
    return _native(x, kernel[:, :, None, :], stride, dilation, groups=x.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _shifted_depthwise(stride: int, dilation: int, x, kernel):
    rows, columns = _margins(kernel.shape, dilation)
    out = (out_size(x.shape[1], stride), out_size(x.shape[2], stride))
    padded = _pad(x, rows, rows, columns, columns)
    return _shift_and_add(padded, kernel, out, stride, dilation)


def _shift_and_add(x, kernel, out: tuple[int, int], stride: int, dilation: int):
    rows, columns = kernel.shape[:2]
    windows = [
        _window(x, i * dilation, j * dilation, out, stride) * per_channel(kernel[i, j], x)
        for i in range(rows)
        for j in range(columns)
    ]
    return sum(windows[1:], windows[0])


def _window(x, top: int, left: int, out: tuple[int, int], stride: int):
    """The `out`-sized, strided part of `x` whose first pixel is (top, left)."""
    height, width = (stride * (size - 1) + 1 for size in out)
    return lax.slice(
        x,
        (0, top, left, 0),
        (x.shape[0], top + height, left + width, x.shape[3]),
        (1, stride, stride, 1),
    )


def _pad(x, top: int, bottom: int, left: int, right: int, *, interior: int = 0):
    spans = ((0, 0, 0), (top, bottom, interior), (left, right, interior), (0, 0, 0))
    return lax.pad(x, jnp.zeros((), x.dtype), spans)


def _depthwise_forward(stride, dilation, x, kernel):
    return _shifted_depthwise(stride, dilation, x, kernel), (x, kernel)


def _depthwise_backward(stride, dilation, residuals, g):
    """Input gradient: the same shifts with the kernel flipped. Kernel gradient: k * k sums of
    shifted products."""
    x, kernel = residuals
    (rows, columns), (height, width) = kernel.shape[:2], x.shape[1:3]
    pads = _margins(kernel.shape, dilation)
    low = [dilation * (k - 1) - pad for k, pad in zip(kernel.shape[:2], pads, strict=True)]
    sizes = zip(x.shape[1:3], g.shape[1:3], pads, strict=True)
    high = [size - (stride * (n - 1) + 1) + pad for size, n, pad in sizes]
    spread = _pad(g, low[0], high[0], low[1], high[1], interior=stride - 1)
    dx = _shift_and_add(spread, kernel[::-1, ::-1], (height, width), 1, dilation)

    if rows == columns == 1:
        return dx, _channel_sum(x[:, ::stride, ::stride] * g).reshape(kernel.shape)
    padded = _pad(x, pads[0], pads[0], pads[1], pads[1])
    corners = dilation * corners_of(rows, columns)
    shifts = shift_products(padded, g, corners, rows * columns, stride=stride)
    return dx, shifts.reshape(kernel.shape)


def corners_of(rows: int, columns: int) -> Int[np.ndarray, "shifts 2"]:
    """Row and column of each place of a kernel, row by row."""
    grid = np.meshgrid(*(np.arange(n, dtype=np.int32) for n in (rows, columns)), indexing="ij")
    return np.stack(grid, -1).reshape(rows * columns, 2)


def shift_products(
    padded: Float[Array, "batch height2 width2 channels"],
    g: Float[Array, "batch height width channels"],
    corners: Int[Array | np.ndarray, "shifts 2"],
    number: int | Int[Array, ""],
    *,
    stride: int = 1,
) -> Float[Array, "shifts channels"]:
    """Sums over batch and pixels of `g` times the part of `padded` that begins at each of the first
    `number` corners (row, column; within bounds); zero for the others.

    In blocks small enough for the cache, where all shifts pass over a block before the next one is
    read. Pixels of a row and their channels are one axis, so that the innermost loop is long; a
    block is folded by sums of up to `_TERMS` products, which compile into one such loop. On a CPU
    3-6 times faster than a pass over the whole arrays for each shift."""
    batch, height, width, channels = g.shape
    rows = _divisor(height, _BLOCK // (width * channels))
    examples = _divisor(batch, _BLOCK // (height * width * channels))
    columns = _divisor(width, _TERMS)
    fold_rows = _divisor(rows, _TERMS // columns)
    fold_examples = _divisor(examples, _TERMS // (columns * fold_rows))
    fold = fold_examples, fold_rows, columns
    strips, zero = height // rows, jnp.int32(0)
    padded, corners = _phases(padded, jnp.asarray(corners), stride)
    g = g.reshape(batch, height, width * channels)

    def add_block(n, total):
        example, row = n // strips * examples, n % strips * rows
        shape = examples, rows, width * channels
        part = lax.dynamic_slice(g, (example, row, zero), shape)

        def add_shift(i, total):
            start = example, corners[i, 0] + row, corners[i, 1] * channels
            return total.at[i].add(
                _folded_product(lax.dynamic_slice(padded, start, shape), part, fold)
            )

        return lax.fori_loop(zero, jnp.asarray(number, jnp.int32), add_shift, total)

    folded = examples // fold_examples, rows // fold_rows, width // columns * channels
    start = jnp.zeros((corners.shape[0], *folded), g.dtype)
    total = lax.fori_loop(zero, jnp.int32(batch // examples * strips), add_block, start)
    return total.sum((1, 2)).reshape(-1, width // columns, channels).sum(1)


# Numbers in a block and products in a sum, as measured; sums of less than 16 take 4 times as long.
_BLOCK, _TERMS = 16_384, 49


def _divisor(number: int, most: int) -> int:
    """The largest divisor of `number` up to `most` (at least 1)."""
    return next(d for d in range(max(min(number, most), 1), 0, -1) if number % d == 0)


def _phases(padded, corners, stride: int):
    """`padded` with pixels and channels of a row as one axis; every `stride`-th row and pixel
    side by side, so that any window with that stride is one without, and where its corner is."""
    batch, channels = padded.shape[0], padded.shape[3]
    height, width = (out_size(n, stride) for n in padded.shape[1:3])
    if stride > 1:
        low = stride * height - padded.shape[1], stride * width - padded.shape[2]
        padded = _pad(padded, 0, low[0], 0, low[1])
        padded = padded.reshape(batch, height, stride, width, stride, channels)
        padded = padded.transpose(0, 2, 4, 1, 3, 5)
        phase = corners[:, 0] % stride * stride + corners[:, 1] % stride
        row, column = corners[:, 0] // stride, corners[:, 1] // stride
        corners = jnp.stack([phase * height + row, column], 1)
    return padded.reshape(batch, stride * stride * height, width * channels), corners


def _folded_product(x, y, fold: tuple[int, int, int]):
    """`x * y` cut into so many parts along each axis, added up."""
    sizes = [n // parts for n, parts in zip(x.shape, fold, strict=True)]
    corners = itertools.product(*map(range, fold))
    spans = [
        tuple(slice(i * n, (i + 1) * n) for i, n in zip(c, sizes, strict=True)) for c in corners
    ]
    products = [x[span] * y[span] for span in spans]
    return sum(products[1:], products[0])


_shifted_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _channel_sum(x: Float[Array, "batch height width channels"]) -> Float[Array, " channels"]:
    """Sum over all but channels, in two steps: 2-6 times faster than one on XLA's CPU backend."""
    return x.sum((0, 1)).sum(0)


def average_pool(
    x: Float[Array, "batch height width channels"],
    *,
    kernel: int,
    stride: int = 1,
    lowering: str = "auto",
) -> Float[Array, "batch height2 width2 channels"]:
    """Average over windows; padding is not counted."""
    if kernel == 1:
        return x[:, ::stride, ::stride]
    window, strides, padding = _pool_windows(x.shape[1:3], kernel, stride)
    if uses_shifts(lowering):
        total = _shifted_sums(kernel, stride, x.shape[1:3], x)
    else:
        total = lax.reduce_window(x, 0.0, lax.add, window, strides, padding)
    ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    return total / lax.reduce_window(ones, 0.0, lax.add, window, strides, padding)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _shifted_sums(kernel: int, stride: int, size: tuple[int, int], x):
    """Sums over the windows of images of this size."""
    padding = _pool_windows(size, kernel, stride)[2][1:3]
    return _separable_sums(x, padding, kernel, stride, [out_size(n, stride) for n in size])


def _separable_sums(x, padding, kernel: int, stride: int, out: Sequence[int], *, interior: int = 0):
    """Sums over windows of the padded `x`, first along columns, then along rows."""
    (top, bottom), (left, right) = padding
    height, width = (stride * (n - 1) + 1 for n in out)
    x = _pad(x, top, bottom, left, right, interior=interior)
    x = sum(x[:, i : i + height : stride] for i in range(kernel))
    return sum(x[:, :, j : j + width : stride] for j in range(kernel))


def _sums_backward(kernel: int, stride: int, size: tuple[int, int], _residuals, g):
    """A pixel's gradient is the sum over the windows that hold it: the same sums, stride 1, of `g`
    with zeros between."""
    low = kernel - 1 - (kernel - 1) // 2
    spread = [stride * (n - 1) + 1 for n in g.shape[1:3]]
    padding = [(low, n + kernel - 1 - low - m) for n, m in zip(size, spread, strict=True)]
    return (_separable_sums(g, padding, kernel, 1, size, interior=stride - 1),)


_shifted_sums.defvjp(lambda k, s, size, x: (_shifted_sums(k, s, size, x), None), _sums_backward)


def max_pool(
    x: Float[Array, "batch height width channels"], *, kernel: int, stride: int = 1
) -> Float[Array, "batch height2 width2 channels"]:
    """Maximum over windows; padding is not counted."""
    return lax.reduce_window(x, -jnp.inf, lax.max, *_pool_windows(x.shape[1:3], kernel, stride))


def _pool_windows(size: tuple[int, int], kernel: int, stride: int):
    """Window, strides and padding of a pooling. The first window starts `(kernel - 1) // 2` pixels
    before the image (kernel 2: at its first pixel), the last one ends behind it where it must."""
    low = (kernel - 1) // 2
    spans = [(low, (out_size(n, stride) - 1) * stride + kernel - n - low) for n in size]
    return (1, kernel, kernel, 1), (1, stride, stride, 1), ((0, 0), *spans, (0, 0))


def place(
    x: Float[Array, "batch height width in"], channels: int, offset: int
) -> Float[Array, "batch height width channels"]:
    """`x` as the channels from number `offset` on among `channels`; the others are zero."""
    spans = ((0, 0, 0),) * 3 + ((offset, channels - offset - x.shape[3], 0),)
    return lax.pad(x, jnp.zeros((), x.dtype), spans)


def shift(
    x: Float[Array, "batch height width channels"], by: int = 1
) -> Float[Array, "batch height width channels"]:
    """The image moved by so many pixels up and left (down and right below zero); zeros enter."""
    return _pad(x, -by, by, -by, by)


def upsample(
    x: Float[Array, "batch height width channels"], crop: tuple[int, int]
) -> Float[Array, "batch height2 width2 channels"]:
    """Each pixel as four, without the last `crop` rows and columns: undoes the size of a stride."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    x = x.reshape(batch, 2 * height, 2 * width, channels)
    return x[:, : 2 * height - crop[0], : 2 * width - crop[1]]


def channel_mean(
    x: Float[Array, "batch height width channels"], *, lowering: str = "auto"
) -> Float[Array, " channels"]:
    """Mean of each channel over batch and pixels."""
    total = _channel_sum(x) if uses_shifts(lowering) else x.sum((0, 1, 2))
    return total / (x.shape[0] * x.shape[1] * x.shape[2])


def moments(
    x: Float[Array, "batch height width channels"], *, lowering: str = "auto"
) -> tuple[Float[Array, " channels"], Float[Array, " channels"]]:
    """Mean and (biased) variance of each channel over batch and pixels."""
    mean = channel_mean(x, lowering=lowering)
    return mean, channel_mean(jnp.square(x - per_channel(mean, x)), lowering=lowering)


def normalise(
    x: Float[Array, "batch height width channels"],
    mean: Float[Array, " channels"],
    variance: Float[Array, " channels"],
) -> Float[Array, "batch height width channels"]:
    """Batch norm's normalisation with the given statistics."""
    return (x - per_channel(mean, x)) * per_channel(lax.rsqrt(variance + EPSILON), x)
