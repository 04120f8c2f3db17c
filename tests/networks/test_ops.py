"""Convolutions and pooling: each lowering is the same function, with the same gradients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nasgen.benchmarks.lowerings import norm_relu
from nasgen.networks import ops

# Odd and even sides, a side shorter than the kernel, and a single pixel.
SIZES = [(7, 6), (2, 5), (1, 1)]
DEPTHWISE = [  # size, kernel, dilation, stride
    *itertools.product(SIZES[:1], (1, 3, 5), (1, 2), (1, 2)),
    *itertools.product(SIZES[1:], (3,), (1,), (2,)),
    *itertools.product(SIZES[1:], (5,), (2,), (1, 2)),
]


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def assert_lowerings_agree(op, x, kernel, **options):
    """In value, and in the gradients by both arguments of its product with random numbers."""

    def run(lowering):
        run_op = lambda x, kernel: op(x, kernel, lowering=lowering, **options)  # noqa: E731
        return lambda g: (lambda y, backward: (y, *backward(g)))(*jax.vjp(run_op, x, kernel))

    size = tuple(ops.out_size(n, options["stride"]) for n in x.shape[1:3])
    weights = normal(9, 2, *size, kernel.shape[-1])
    native, shifts = jax.jit(lambda g: (run("native")(g), run("shifts")(g)))(weights)
    assert native[0].shape == weights.shape
    for one, other in zip(native, shifts, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert jnp.abs(native[2]).max() > 0.1  # there is a gradient to agree on


@pytest.mark.parametrize(("size", "kernel", "dilation", "stride"), DEPTHWISE)
def test_depthwise_lowerings_agree(size, kernel, dilation, stride):
    x, weights = normal(0, 2, *size, 3), normal(1, kernel, kernel, 3)
    assert_lowerings_agree(ops.depthwise, x, weights, stride=stride, dilation=dilation)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_pointwise_lowerings_agree(size, stride):
    x, weights = normal(2, 2, *size, 3), normal(3, 1, 1, 3, 4)
    assert_lowerings_agree(ops.convolution, x, weights, stride=stride)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_pooling_lowerings_agree(size, stride, kernel):
    x = normal(10, 2, *size, 3)
    assert_agree(
        x, lambda x, lowering: ops.average_pool(x, kernel=kernel, stride=stride, lowering=lowering)
    )


@pytest.mark.parametrize("size", SIZES)
def test_batch_norm_lowerings_agree(size):
    assert_agree(3 + normal(11, 4, *size, 3), lambda x, lowering: norm_relu(x, lowering=lowering))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_dense_convolutions_are_left_as_they_are(kernel, stride):
    """`shifts` is for what gains by it."""
    x, weights = normal(12, 2, 7, 6, 3), normal(13, kernel, kernel, 3, 4)
    assert_lowerings_agree(ops.convolution, x, weights, stride=stride)


@pytest.mark.parametrize("window", [(3, 3), (5, 5), (3, 1)])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_gradients_of_large_convolutions_agree(window, stride, dilation, monkeypatch):
    """By patches of one example at a time."""
    monkeypatch.setattr(ops, "_LARGE", 100)
    monkeypatch.setattr(ops, "_PATCHES", 7 * 6)
    x, weights = normal(14, 2, 7, 6, 3), normal(15, *window, 3, 4)
    options = dict(stride=stride, dilation=dilation)
    assert_lowerings_agree(ops.convolution, x, weights, **options)
    by_kernel = jax.grad(lambda w: ops.convolution(x, w, lowering="shifts", **options).sum())
    assert "while" in str(jax.make_jaxpr(by_kernel)(weights))


def assert_agree(x, op):
    """In value, and in the gradient of its product with random numbers."""

    def both(lowering, g):
        y, backward = jax.vjp(lambda x: op(x, lowering), x)
        return y, backward(g)[0]

    weights = normal(14, *op(x, "native").shape)
    native, shifts = jax.jit(lambda g: (both("native", g), both("shifts", g)))(weights)
    for one, other in zip(native, shifts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


SHIFTS = [(3, 1, 1, (33, 20)), (5, 2, 1, (17, 4)), (5, 1, 2, (12, 32)), (3, 2, 2, (9, 48))]


@pytest.mark.parametrize(("kernel", "dilation", "stride", "size"), SHIFTS)
def test_kernel_gradients_of_larger_maps_by_definition(kernel, dilation, stride, size):
    """Large enough for several blocks, folds of rows and of columns."""
    x, g_size = normal(15, 4, *size, 24), tuple(ops.out_size(n, stride) for n in size)
    g = normal(16, 4, *g_size, 24)
    options = dict(stride=stride, dilation=dilation, lowering="shifts")
    apply = lambda kernel: ops.depthwise(x, kernel, **options)  # noqa: E731
    zeros = jnp.zeros((kernel, kernel, 24))
    ours = jax.jit(lambda g: jax.vjp(apply, zeros)[1](g)[0])(g)
    expected = np.zeros((kernel, kernel, 24))
    images, gradients = np.asarray(x, np.float64), np.asarray(g, np.float64)
    for row, column, places in windows(images, kernel, stride, dilation):
        for i, j, p, q in places:
            expected[i, j] += (images[:, p, q] * gradients[:, row, column]).sum(0)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def windows(x: np.ndarray, kernel: int, stride: int, dilation: int = 1):
    """For each output pixel: (row, column, the pixels of its window that lie in the image)."""
    pad = dilation * (kernel - 1) // 2
    for row, column in np.ndindex(*(ops.out_size(n, stride) for n in x.shape[1:3])):
        places = []
        for i, j in np.ndindex(kernel, kernel):
            place = (stride * row + dilation * i - pad, stride * column + dilation * j - pad)
            if all(0 <= p < n for p, n in zip(place, x.shape[1:3], strict=True)):
                places.append((i, j, *place))
        yield row, column, places


@pytest.mark.parametrize(("kernel", "dilation", "stride"), [(3, 1, 2), (5, 2, 1)])
def test_depthwise_and_dense_by_definition(kernel, dilation, stride):
    images, weights = normal(4, 2, 7, 6, 3), normal(5, kernel, kernel, 3)
    mixing = normal(6, kernel, kernel, 3, 4)
    options = dict(stride=stride, dilation=dilation)
    depthwise = np.asarray(ops.depthwise(images, weights, **options))
    dense = np.asarray(ops.convolution(images, mixing, **options))
    x, weights, mixing = (np.asarray(a, np.float64) for a in (images, weights, mixing))
    for row, column, places in windows(x, kernel, stride, dilation):
        one = sum(weights[i, j] * x[:, p, q] for i, j, p, q in places)
        np.testing.assert_allclose(depthwise[:, row, column], one, atol=1e-5)
        other = sum(x[:, p, q] @ mixing[i, j] for i, j, p, q in places)
        np.testing.assert_allclose(dense[:, row, column], other, atol=1e-4)


@pytest.mark.parametrize(
    ("pool", "reduce"), [(ops.average_pool, np.mean), (ops.max_pool, np.max)], ids=["mean", "max"]
)
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_pools_by_definition(size, stride, kernel, pool, reduce):
    images = normal(7, 2, *size, 3)
    pooled = pool(images, kernel=kernel, stride=stride)
    x = np.asarray(images)
    expected = np.zeros((2, *(ops.out_size(n, stride) for n in size), 3))
    for row, column, places in windows(x, kernel, stride):
        expected[:, row, column] = reduce([x[:, p, q] for *_, p, q in places], axis=0)
    np.testing.assert_allclose(pooled, expected, atol=1e-6)
    assert pooled.shape == expected.shape


def test_place_and_shift_by_definition():
    x = np.asarray(normal(10, 2, 3, 4, 2))
    placed = np.zeros((2, 3, 4, 5), np.float32)
    placed[..., 1:3] = x
    np.testing.assert_array_equal(ops.place(jnp.asarray(x), 5, 1), placed)
    shifted = np.zeros_like(x)
    shifted[:, :-1, :-1] = x[:, 1:, 1:]
    np.testing.assert_array_equal(ops.shift(jnp.asarray(x)), shifted)


def test_moments_and_normalise_are_those_of_numpy():
    x = 5 + 3 * normal(8, 4, 5, 6, 7)
    mean, variance = ops.moments(x)
    np.testing.assert_allclose(mean, np.mean(x, (0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, np.var(x, (0, 1, 2)), rtol=1e-5)
    y = ops.normalise(x, mean, variance)
    np.testing.assert_allclose(np.mean(y, (0, 1, 2)), np.zeros(7), atol=1e-5)
    np.testing.assert_allclose(np.var(y, (0, 1, 2)), np.ones(7), rtol=1e-4)


def test_an_unknown_lowering_is_refused():
    assert ops.uses_shifts("shifts") and not ops.uses_shifts("native")
    with pytest.raises(ValueError, match="`lowering` must be auto, shifts or native; got 'gpu'"):
        ops.uses_shifts("gpu")
