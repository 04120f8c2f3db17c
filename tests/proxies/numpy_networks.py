"""A second opinion on networks: plans run in NumPy and differentiated by complex steps.

It shares no code with nasgen, of which it reads only plans, as descriptions. A derivative is the
imaginary part after a step of 1e-30 i, exact to rounding; ReLU and max pooling decide on the real
part. Arrays are `[population, batch, height, width, channels]`: a population of networks that
differ in one number each runs at once, and what lies before the difference runs once (population
1).
"""

import math
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

from nasgen.networks.plan import Layer, Plan

STEP, EPSILON, CHUNK = 1e-30, 1e-5, 128


class Trace(NamedTuple):
    """values: of the plan. inputs: what each step sums. outputs: its linear map before the norm."""

    values: list[np.ndarray]
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]


def run(plan: Plan, weights, values, *, norm="batch", scales=None, last=None) -> Trace:
    """Continues from the values at hand to value `last`. norm: by `batch` statistics, `fresh`
    running ones, or `none`. scales: factors on some steps' outputs, by step."""
    trace = Trace(list(values), [], [])
    for index in range(len(values) - 1, len(plan.steps) if last is None else last):
        step = plan.steps[index]
        x = sum(trace.values[i] for i in step.inputs)
        trace.inputs.append(x)
        x = np.where(x.real > 0, x, 0) if step.layer.relu else x
        y = linear_map(step.layer, weights[index], x, step.out_size)
        y = y * scales[index] if scales and index in scales else y
        trace.outputs.append(y)
        if step.layer.norm != "none" and norm == "batch":
            mean = y.mean((1, 2, 3), keepdims=True)
            variance = ((y - mean) ** 2).mean((1, 2, 3), keepdims=True)
            y = (y - mean) / np.sqrt(variance + EPSILON)
        elif step.layer.norm != "none" and norm == "fresh":
            y = y / math.sqrt(1 + EPSILON)
        trace.values.append(y)
    return trace


def linear_map(layer: Layer, w: dict, x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    bias = w.get("bias", 0)
    if layer.kind == "linear":
        x = x.mean((2, 3), keepdims=True)
        return dense(x, w["kernel"]) + bias
    if layer.kind == "conv":
        return (
            sum(dense(v, w["kernel"][..., i, j, :, :]) for v, i, j in shifts(layer, x, size)) + bias
        )
    if layer.kind == "depthwise":
        kernel = w["kernel"]
        kernel = kernel.reshape(-1, *kernel.shape[-3:])[:, None, None, None]
        return sum(v * kernel[..., i, j, :] for v, i, j in shifts(layer, x, size)) + bias
    if layer.kind == "avg_pool":
        total = sum(v for v, _, _ in shifts(layer, x, size))
        return total / sum(v for v, _, _ in shifts(layer, np.ones((1, 1, *x.shape[2:4], 1)), size))
    if layer.kind == "max_pool":
        best, *others = [v for v, _, _ in shifts(layer, x, size, fill=-np.inf)]
        for other in others:
            best = np.where(other.real > best.real, other, best)
        return best
    if layer.kind == "zero":
        return np.zeros((*x.shape[:2], *size, layer.out_channels))
    if layer.kind == "slice":
        return x[..., : layer.out_channels]
    if layer.kind == "place":
        y = np.zeros((*x.shape[:-1], layer.out_channels), x.dtype)
        y[..., layer.offset : layer.offset + layer.in_channels] = x
        return y
    if layer.kind == "shift":
        y = np.zeros_like(x)
        y[:, :, :-1, :-1] = x[:, :, 1:, 1:]
        return y
    assert layer.kind == "identity", layer
    return x


def shifts(layer: Layer, x: np.ndarray, size: tuple[int, int], fill=0.0):
    """For each kernel offset the input under it, at every output pixel; outside it is `fill`."""
    before = 0 if layer.kernel == 2 else layer.dilation * (layer.kernel - 1) // 2
    reach = layer.dilation * (layer.kernel - 1)
    need = [(n - 1) * layer.stride + 1 + reach for n in size]
    after = [max(n - before - m, 0) for n, m in zip(need, x.shape[2:4], strict=True)]
    pads = ((0, 0), (0, 0), (before, after[0]), (before, after[1]), (0, 0))
    x = np.pad(x, pads, constant_values=fill)
    for i, j in product(range(layer.kernel), repeat=2):
        rows, columns = (
            slice(layer.dilation * k, layer.dilation * k + (n - 1) * layer.stride + 1, layer.stride)
            for k, n in zip((i, j), size, strict=True)
        )
        yield x[:, :, rows, columns], i, j


def dense(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Channels times `[in, out]`, or times each of a population of these."""
    flat = x.reshape(len(x), -1, x.shape[-1]) @ kernel
    return flat.reshape(len(flat), *x.shape[1:-1], kernel.shape[-1])


# ---- derivatives ---------------------------------------------------------------------------------


def by_kernels(plan: Plan, weights, x, function, *, norm="batch") -> list[np.ndarray]:
    """Derivatives `[..., *kernel]` of `function(logits [population, batch, classes])`."""
    base = run(plan, weights, [x], norm=norm).values
    found = []
    for index, step in enumerate(plan.steps):
        if not step.layer.has_kernel:
            continue
        kernel = weights[index]["kernel"]
        columns = []
        for numbers in chunks(kernel.size):
            kernels = np.tile(kernel.ravel().astype(complex), (len(numbers), 1))
            kernels[np.arange(len(numbers)), numbers] += 1j * STEP
            moved = dict(weights[index], kernel=kernels.reshape(-1, *kernel.shape))
            changed = [*weights[:index], moved, *weights[index + 1 :]]
            value = function(logits(run(plan, changed, base[: index + 1], norm=norm)))
            columns.append(np.broadcast_to(value, (len(numbers), *value.shape[1:])))
        derivative = np.concatenate(columns)
        derivative = np.moveaxis(derivative.imag / STEP, 0, -1)
        found.append(derivative.reshape(*derivative.shape[:-1], *kernel.shape))
    return found


def chunks(size: int) -> list[np.ndarray]:
    return np.array_split(np.arange(size), max(1, -(-size // CHUNK)))


def logits(trace: Trace) -> np.ndarray:
    return trace.values[-1][:, :, 0, 0]


def cross_entropy(labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The mean over the batch, of each of a population."""

    def loss(z: np.ndarray) -> np.ndarray:
        z = z - z.real.max(-1, keepdims=True)
        logs = z - np.log(np.exp(z).sum(-1, keepdims=True))
        return -logs[:, np.arange(len(labels)), labels].mean(1)

    return loss


def by_value(plan: Plan, weights, values: list, function, last: int) -> np.ndarray:
    """Derivative of `function(value last)` by the last of `values`, in its shape without the
    population's axis."""
    value, columns = values[-1], []
    for numbers in chunks(value[0].size):
        moved = np.tile(value.ravel().astype(complex), (len(numbers), 1))
        moved[np.arange(len(numbers)), numbers] += 1j * STEP
        moved = moved.reshape(-1, *value.shape[1:])
        trace = run(plan, weights, [*values[:-1], moved], last=last)
        columns.append(np.broadcast_to(function(trace.values[last]), len(numbers)))
    return (np.concatenate(columns).imag / STEP).reshape(value.shape[1:])
