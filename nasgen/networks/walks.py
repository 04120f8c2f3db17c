"""Walks of a plan over compiled programs: forward, backward, binary codes, synaptic flow.

Batch norms are fresh (scale 1, shift 0), as at initialisation. Weights come as a list, one dict a
step, padded by `pad_plan`. A walk calls primitives through `run`: the real one, `PROGRAMS.run`,
calls compiled programs; a recording one only notes which programs a plan needs, so that they can be
compiled beforehand, several at a time.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array

from nasgen.networks import network
from nasgen.networks.ops import EPSILON, out_size
from nasgen.networks.plan import Layer, Plan, Step, weight_shapes
from nasgen.networks.programs import MAX_CORNERS, PROGRAMS, Signature, bucket

_FRESH_NORM = np.float32(1 / math.sqrt(1 + EPSILON))  # batch norm with running variance 1
Weights = dict[str, np.ndarray]


class Shape(NamedTuple):
    """Stands for an array where only its shape matters."""

    shape: tuple[int, ...]


Tensor = Array | np.ndarray | Shape  # on the device, on the host, or being recorded

# ---- weights ------------------------------------------------------------------------------------


def kernel_shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    """The arrays that walks use: kernel and bias, not the norm's scale and shift."""
    return weight_shapes(layer._replace(norm="none"))


def draw_weights(rng: np.random.Generator, plan: Plan) -> list[Weights]:
    """Fresh weights of every step, uniform within `1 / sqrt(fan_in)` (see `network`)."""
    return [network.draw_weights(rng, step.layer._replace(norm="none")) for step in plan.steps]


def _padded(layer: Layer) -> Layer:
    out = layer.out_channels if layer.kind == "linear" else bucket(layer.out_channels)
    return layer._replace(in_channels=bucket(layer.in_channels), out_channels=out)


def _pad_weights(layer: Layer, weights: Weights) -> Weights:
    shapes = kernel_shapes(_padded(layer))
    return {name: _pad_to(weights[name], shape) for name, shape in shapes.items()}


def _pad_to(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape == shape:
        return np.asarray(array, np.float32)
    padded = np.zeros(shape, np.float32)
    padded[tuple(map(slice, array.shape))] = array
    return padded


def _crop(array: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(array)[tuple(map(slice, shape))]


# ---- one layer's linear map, forward and backward -----------------------------------------------


def _linear(run, layer: Layer, weights: Weights, x):
    """The padded layer's linear map (no ReLU, no norm) with its bias."""
    if layer.kind == "avg_pool":
        if layer.kernel == 1:
            return run("subsample", (), x) if layer.stride == 2 else x
        return run("pool", (layer.kernel, layer.stride), x)
    if layer.kind == "depthwise":
        constants = (layer.kernel, layer.dilation, layer.stride)
        return run("depthwise", constants, x, weights["kernel"])
    if layer.kind == "linear":
        x = run("pixel_mean", (), x)
    if layer.kind == "linear" or layer.kernel == 1:
        x = run("subsample", (), x) if layer.stride == 2 else x
        kernel = weights["kernel"].reshape(layer.in_channels, layer.out_channels)
        y = run("matmul", (layer.out_channels,), x, kernel)
    else:
        constants = (layer.out_channels, layer.kernel, layer.stride)
        y = run("convolution", constants, x, weights["kernel"])
    return run("bias", (), y, weights["bias"]) if layer.bias else y


def _linear_backward(run, layer: Layer, weights: Weights, x, g):
    """Gradients of the padded layer's linear map by its input and by its kernel."""
    height, width = x.shape[1:3]
    if layer.kind == "avg_pool":
        if layer.kernel == 1:
            return (run("spread", (height, width), g) if layer.stride == 2 else g), None
        constants = (layer.kernel, layer.stride, height, width)
        return run("pool_backward", constants, g), None
    if layer.kind == "depthwise":
        g = run("spread", (height, width), g) if layer.stride == 2 else g
        constants = (layer.kernel, layer.dilation, 1)
        dx = run("depthwise", constants, g, weights["kernel"][::-1, ::-1])
        corners, number = _corners(layer)
        return dx, run("depthwise_gradient", (), x, g, corners, number)
    if layer.kind == "conv" and layer.kernel > 1:
        constants = (layer.out_channels, layer.kernel, layer.stride)
        return run("convolution_backward", constants, x, weights["kernel"], g)
    kernel = weights["kernel"].reshape(layer.in_channels, layer.out_channels)
    if layer.kind == "linear":
        x = run("pixel_mean", (), x)
    elif layer.stride == 2:
        x = run("subsample", (), x)
    dx, dw = run("matmul_backward", (layer.out_channels,), x, kernel, g)
    if layer.kind == "linear":
        return run("pixel_mean_backward", (height, width), dx), dw
    return (run("spread", (height, width), dx) if layer.stride == 2 else dx), dw


def _corners(layer: Layer) -> tuple[np.ndarray, np.int32]:
    offsets = layer.dilation * (np.arange(layer.kernel) - layer.kernel // 2)
    corners = np.zeros((MAX_CORNERS, 2), np.int32)
    corners[: layer.kernel**2] = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), -1).reshape(
        -1, 2
    )
    return corners, np.int32(layer.kernel**2)


def _sum(run, values: Sequence[Tensor]):
    total = values[0]
    for value in values[1:]:
        total = run("add", (), total, value)
    return total


# ---- walks --------------------------------------------------------------------------------------


class Forward(NamedTuple):
    """What the forward walk leaves behind, for each step: its input, value and norm scale."""

    inputs: list[Tensor]
    values: list[Tensor]
    scales: list[Tensor | None]


def walk_forward(plan: Plan, weights: Sequence[Weights], x: Tensor, run) -> Forward:
    """Forward of `x [batch, height, width, channels]` with batch statistics; the last value is the
    logits."""
    values, inputs, scales = [x], [], []
    for step, w in zip(plan.steps, weights, strict=True):
        layer, scale = _padded(step.layer), None
        y = _sum(run, [values[i] for i in step.inputs])
        inputs.append(y)
        y = run("relu", (), y) if layer.relu else y
        y = _linear(run, layer, w, y) if layer.kind != "identity" else y
        if layer.norm != "none":
            y, scale = run("norm", (), y)
        values.append(y)
        scales.append(scale)
    return Forward(inputs, values[1:], scales)


def walk_backward(
    plan: Plan, weights: Sequence[Weights], forward: Forward, labels: Tensor | None, run
) -> list[Tensor | None]:
    """Gradients of the mean cross-entropy with int32 `labels [batch]` by each step's kernel, padded
    (None: nobody reads it)."""
    gradients: list[list] = [[] for _ in range(len(plan.steps) + 1)]
    gradients[-1] = [run("cross_entropy_gradient", (), forward.values[-1], labels)]
    kernels: list[Array | None] = [None] * len(plan.steps)
    for index in range(len(plan.steps) - 1, -1, -1):
        step, x = plan.steps[index], forward.inputs[index]
        layer = _padded(step.layer)
        if not gradients[index + 1]:
            continue
        g = _sum(run, gradients[index + 1])
        gradients[index + 1] = []
        if layer.norm != "none":
            g = run("norm_backward", (), forward.values[index], forward.scales[index], g)
        if layer.kind != "identity":
            active = run("relu", (), x) if layer.relu else x
            g, kernels[index] = _linear_backward(run, layer, weights[index], active, g)
        g = run("relu_backward", (), x, g) if layer.relu else g
        for value in step.inputs:
            gradients[value].append(g)
    return kernels


def walk_codes(plan: Plan, weights: Sequence[Weights], x: Tensor, run) -> list[Tensor]:
    """Code agreements `[batch, batch]` of every conv and linear, in execution order: evaluation
    mode with fresh running statistics, where batch norm is one constant factor."""
    values, agreements = [x], []
    for step, w in zip(plan.steps, weights, strict=True):
        layer = _padded(step.layer)
        y = _sum(run, [values[i] for i in step.inputs])
        y = run("relu", (), y) if layer.relu else y
        if layer.norm != "none" and w:
            w = {name: array * _FRESH_NORM for name, array in w.items()}
        y = _linear(run, layer, w, y) if layer.kind != "identity" else y
        if layer.norm != "none" and not w:
            y = run("scale", (), y, _FRESH_NORM)
        if layer.has_kernel:
            agreements.append(run("codes", (), y))
        values.append(y)
    return agreements


def pad_images(images: np.ndarray) -> np.ndarray:
    """Images with zeros for the channels that bucketing adds (none for up to three)."""
    return _pad_to(images, (*images.shape[:-1], bucket(images.shape[-1])))


def _padded_input(plan: Plan) -> tuple[int, int, int]:
    return (*plan.input_shape[:2], bucket(plan.input_shape[2]))


def padded_units(step: Step) -> int:
    """Output units of a step that exist only through padding."""
    extra = _padded(step.layer).out_channels - step.layer.out_channels
    return extra * math.prod(step.out_size)


class Flow(NamedTuple):
    """An array as `value * exp(log)`, its value near one: no depth overflows it."""

    value: Tensor
    log: float


def walk_synflow(plan: Plan, weights: Sequence[Weights], run) -> list[float | None]:
    """log of the sum of |kernel * dR/dkernel| of each step, R the sum of outputs, without batch
    norm, with absolute weights and an input of ones. None where the step has no kernel."""
    positive = [{name: np.abs(array) for name, array in w.items()} for w in weights]
    values = [Flow(np.ones((1, *_padded_input(plan)), np.float32), 0.0)]
    inputs, kernels = [], [None] * len(plan.steps)
    for step, w in zip(plan.steps, positive, strict=True):
        layer = _padded(step.layer)
        flow = _sum_flows(run, [values[i] for i in step.inputs])
        inputs.append(flow)
        if layer.kind != "identity":
            bias = {"bias": w["bias"] * np.float32(np.exp(-flow.log))} if "bias" in w else {}
            flow = _rescale(run, _linear(run, layer, w | bias, flow.value), flow.log)
        values.append(flow)
    gradients: list[list[Flow]] = [[] for _ in values]
    gradients[-1] = [Flow(np.ones(values[-1].value.shape, np.float32), 0.0)]
    for index in range(len(plan.steps) - 1, -1, -1):
        layer, x = _padded(plan.steps[index].layer), inputs[index]
        if not gradients[index + 1]:
            continue
        g = _sum_flows(run, gradients[index + 1])
        if layer.kind != "identity":
            dx, dw = _linear_backward(run, layer, positive[index], x.value, g.value)
            if layer.has_kernel:
                kernel = positive[index]["kernel"].reshape(-1)
                total = np.dot(kernel.astype(np.float64), _flat_gradient(layer, dw))
                kernels[index] = float(np.log(total)) + x.log + g.log
            g = _rescale(run, dx, g.log)
        for value in plan.steps[index].inputs:
            gradients[value].append(g)
    return kernels


def _rescale(run, array, log: float) -> Flow:
    value, change = run("rescale", (), array)
    return Flow(value, log + float(change))


def _sum_flows(run, flows: Sequence[Flow]) -> Flow:
    if len(flows) == 1:
        return flows[0]
    top = max(flow.log for flow in flows)
    parts = [run("scale", (), f.value, np.float32(np.exp(f.log - top))) for f in flows]
    return Flow(_sum(run, parts), top)


def _flat_gradient(layer: Layer, dw) -> np.ndarray:
    dw = np.asarray(dw, np.float64)
    return dw[: layer.kernel**2].reshape(-1) if layer.kind == "depthwise" else dw.reshape(-1)


def true_gradient(layer: Layer, dw: np.ndarray | None) -> np.ndarray:
    """A kernel's gradient at its true shape, from what `walk_backward` returns (on the host)."""
    shape = kernel_shapes(layer)["kernel"]
    if dw is None:
        return np.zeros(shape, np.float32)
    if layer.kind == "depthwise":
        dw = dw[: layer.kernel**2].reshape(layer.kernel, layer.kernel, -1)
    elif layer.kind == "conv":
        dw = dw.reshape(layer.kernel, layer.kernel, *dw.shape[-2:])
    return _crop(dw, shape)


# ---- which programs a plan needs ----------------------------------------------------------------


def pad_plan(plan: Plan, weights: Sequence[Weights]) -> list[Weights]:
    """All weights of a plan with zeros for the channels that bucketing adds."""
    return [_pad_weights(step.layer, w) for step, w in zip(plan.steps, weights, strict=True)]


def signatures(plan: Plan, passes: Sequence[str], batch: int) -> list[Signature]:
    """The programs that the passes (`gradients`, `codes`, `synflow`) over a plan will run."""
    seen: dict[Signature, None] = {}

    def record(name: str, constants: tuple[int, ...], *arrays):
        seen[Signature(name, arrays[0].shape, constants)] = None
        return _result(name, constants, arrays[0].shape)

    weights = [
        {n: np.zeros(s, np.float32) for n, s in kernel_shapes(_padded(step.layer)).items()}
        for step in plan.steps
    ]
    x = Shape((batch, *_padded_input(plan)))
    if "gradients" in passes:
        forward = walk_forward(plan, weights, x, record)
        walk_backward(plan, weights, forward, None, record)
    if "codes" in passes:
        walk_codes(plan, weights, x, record)
    if "synflow" in passes:
        with np.errstate(divide="ignore"):
            walk_synflow(plan, weights, record)
    return list(seen)


def _result(name: str, constants: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """The shape of a primitive's result by that of its first argument."""
    batch, channels = shape[0], shape[-1]
    strided = lambda stride: tuple(out_size(n, stride) for n in shape[1:3])  # noqa: E731
    if name == "norm":
        return Shape(shape), Shape((channels,))
    if name == "rescale":
        return Shape(shape), 0.0
    if name == "codes":
        return Shape((batch, batch))
    if name == "subsample":
        return Shape((batch, *strided(2), channels))
    if name in ("spread", "pixel_mean_backward", "pool_backward"):
        return Shape((batch, *constants[-2:], channels))
    if name == "pixel_mean":
        return Shape((batch, channels))
    if name == "matmul":
        return Shape((*shape[:-1], constants[0]))
    if name == "matmul_backward":
        return Shape(shape), np.zeros((channels, constants[0]))
    if name == "depthwise":
        return Shape((batch, *strided(constants[2]), channels))
    if name == "depthwise_gradient":
        return np.zeros((MAX_CORNERS, channels))
    if name == "convolution":
        return Shape((batch, *strided(constants[2]), constants[0]))
    if name == "convolution_backward":
        return Shape(shape), np.zeros((constants[1], constants[1], channels, constants[0]))
    if name == "pool":
        return Shape((batch, *strided(constants[1]), channels))
    return Shape(shape)


def compile_for(plans: Sequence[Plan], passes: Sequence[str], batch: int) -> int:
    """Compiles every program that the passes over these plans need; returns how many were new."""
    return PROGRAMS.compile(s for plan in plans for s in signatures(plan, passes, batch))
