"""Synaptic flow (Tanaka et al., NeurIPS 2020) over compiled programs, at any depth in float32.

R is the sum of outputs of the network with absolute weights and biases, without batch norm, for an
input of ones; every array is kept as a value near one and the logarithm of its scale.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nasgen.networks import linear_maps
from nasgen.networks.padding import Weights, bucket, true_gradient
from nasgen.networks.plan import Plan
from nasgen.networks.walks import Tensor, add_up
from nasgen.types import sides


class Flow(NamedTuple):
    """An array as `value * exp(log)`, its value near one: no depth overflows it."""

    value: Tensor
    log: float


def walk_flows(plan: Plan, weights: Sequence[Weights], run, *, dtype=np.float32) -> list:
    """dR/dkernel of each step as a `Flow`, padded; None where the step has no kernel or nobody
    reads it."""
    positive = [{name: np.abs(array) for name, array in w.items()} for w in weights]
    shape = (1, *sides(plan.input_shape), bucket(plan.input_shape[-1]))
    values, inputs = [Flow(np.ones(shape, dtype), 0.0)], []
    for step, w in zip(plan.steps, positive, strict=True):
        flow = _sum(run, [values[i] for i in step.inputs])
        inputs.append(flow)
        values.append(flow if step.layer.kind == "identity" else _forward(run, step.layer, w, flow))
    gradients: list[list[Flow]] = [[] for _ in values]
    gradients[-1] = [Flow(np.ones(values[-1].value.shape, dtype), 0.0)]
    kernels: list[Flow | None] = [None] * len(plan.steps)
    for index in range(len(plan.steps) - 1, -1, -1):
        step, x, layer = plan.steps[index], inputs[index], plan.steps[index].layer
        if not gradients[index + 1]:
            continue
        g = _sum(run, gradients[index + 1])
        if layer.has_kernel:
            dw = linear_maps.kernel_gradient(run, layer, x.value, g.value)
            kernels[index] = Flow(dw, x.log + g.log)
        if step.inputs == (0,):
            continue
        if layer.kind != "identity":
            dx = linear_maps.input_gradient(run, layer, positive[index], x.value, g.value)
            if dx is None:
                continue
            g = _rescaled(run, dx, g.log)
        for value in step.inputs:
            gradients[value].append(g)
    return kernels


def _forward(run, layer, w: Weights, flow: Flow) -> Flow:
    if "bias" in w:  # both terms at the larger scale, so that neither overflows
        log = max(flow.log, 0.0)
        w = w | {"bias": w["bias"] * w["bias"].dtype.type(np.exp(-log))}
        flow = _at(run, flow, log)
    return _rescaled(run, linear_maps.forward(run, layer, w, flow.value), flow.log)


def _at(run, flow: Flow, log: float) -> Flow:
    factor = flow.value.dtype.type(np.exp(flow.log - log))
    return Flow(run("scale", (), flow.value, factor), log)


def _rescaled(run, array, log: float) -> Flow:
    value, change = run("rescale", (), array)
    return Flow(value, log + float(change))


def _sum(run, flows: Sequence[Flow]) -> Flow:
    if len(flows) == 1:
        return flows[0]
    top = max(flow.log for flow in flows)
    return Flow(add_up(run, [_at(run, flow, top).value for flow in flows]), top)


class LayerFlow(NamedTuple):
    """Logarithms of a layer's sum of s = |kernel * dR/dkernel|, and of that sum over the unbiased
    standard deviation of s (the bare sum where that is zero); -inf where nothing flows."""

    total: float
    ratio: float


def layer_flow(layer, kernel: np.ndarray, flow: Flow | None) -> LayerFlow:
    """From a kernel at its true shape and what `walk_flows` found for it (on the host)."""
    if flow is None:
        return LayerFlow(-np.inf, -np.inf)
    dw = true_gradient(layer, np.asarray(flow.value)).astype(np.float64)
    saliency = np.abs(kernel.astype(np.float64) * dw).ravel()
    with np.errstate(divide="ignore"):
        total = np.log(saliency.sum())
        deviation = saliency.std(ddof=1) if saliency.size > 1 else 0.0
        ratio = total - np.log(deviation) if deviation > 0 else total + flow.log
    return LayerFlow(float(total + flow.log), float(ratio))
