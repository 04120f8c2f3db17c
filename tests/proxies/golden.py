"""Reads `golden.npz` (made by `make_golden`) as records of nasgen."""

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nasgen.networks.costs import count
from nasgen.networks.plan import Layer, Plan, Step, weight_shapes
from nasgen.proxies.proxy import Blocks, Passes, Zen

FILE = Path(__file__).with_name("golden.npz")


class Golden(NamedTuple):
    """A network, what it was given, what its passes say, and its scores by name.

    zen: weights, images and noise. signs: at every block but the first."""

    plan: Plan
    weights: list[dict[str, np.ndarray]]
    images: np.ndarray
    labels: np.ndarray
    zen: tuple[list[dict[str, np.ndarray]], np.ndarray, np.ndarray]
    signs: list[np.ndarray]
    passes: Passes
    scores: dict[str, float]


def read() -> list[Golden]:
    """The networks of the file."""
    with np.load(FILE) as file:
        arrays = dict(file)
    record = json.loads(bytes(arrays["record"]).decode())
    table = dict(zip(record["scores"], arrays["scores"], strict=True))
    networks = []
    for number, plan in enumerate(map(_plan, record["plans"])):
        prefix = f"{number}/"
        own = {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
        scores = {name: float(row[number]) for name, row in table.items()}
        networks.append(_network(plan, own, arrays["labels"], scores))
    return networks


def _plan(data: list) -> Plan:
    steps, shape, num_classes, blocks = data
    rows = [(name, Layer(*layer), *map(tuple, rest)) for name, layer, *rest in steps]
    return Plan(tuple(Step(*row) for row in rows), tuple(shape), num_classes, tuple(blocks))


def _network(plan: Plan, arrays: dict, labels: np.ndarray, scores: dict) -> Golden:
    double = lambda name: arrays[name].astype(np.float64)  # noqa: E731
    layers = [step.layer for step in plan.steps]
    kernels = [weight_shapes(layer)["kernel"] for layer in layers if layer.has_kernel]
    biases = [(layer.out_channels,) for layer in layers if layer.bias]
    batch, pixels = len(labels), [(len(labels), *step.out_size) for step in plan.steps]
    widths = [layers[block - 1].out_channels for block in plan.blocks]
    windows = [
        math.prod(
            b // a
            for a, b in zip(plan.steps[j - 1].out_size, plan.steps[i - 1].out_size, strict=True)
        )
        for i, j in zip(plan.blocks, plan.blocks[1:], strict=False)
    ]
    relus = [math.prod(s.in_size) * s.layer.in_channels for s in plan.steps if s.layer.relu]
    halves = _cut(double("half_gradients"), 2 * kernels)
    passes = Passes(
        costs=count(plan),
        kernels=_cut(double("kernels"), kernels),
        targets=labels,
        num_classes=plan.num_classes,
        gradients=_cut(double("gradients"), kernels),
        half_gradients=(halves[: len(kernels)], halves[len(kernels) :]),
        curvature=_cut(double("curvature"), kernels),
        products=_cut(double("products"), [(batch, shape[-1]) for shape in kernels]),
        jacobian=double("jacobian"),
        sign_sums=_cut(double("sign_sums"), kernels),
        ntk=double("ntk"),
        agreements=double("agreements"),
        relu_agreements=double("relu_agreements"),
        fresh_relu_agreements=double("fresh_relu_agreements"),
        patterns=_cut(arrays["patterns"].astype(np.uint32), [(1, units) for units in relus]),
        synflow=double("synflow"),
        synflow_snr=double("synflow_snr"),
        zen=Zen(double("distances"), double("variances")),
        blocks=Blocks(
            _cut(double("covariances"), [(n, n) for n in widths]),
            _cut(
                double("transfers"),
                [(n * a, b) for n, a, b in zip(windows, widths, widths[1:], strict=False)],
            ),
        ),
    )
    weights = _weights(layers, passes.kernels, _cut(double("biases"), biases))
    zeros = [np.zeros(shape) for shape in biases]
    zen_weights = _weights(layers, _cut(double("draws/kernels"), kernels), zeros)
    shapes = [(*pixels[b - 1], layers[b - 1].out_channels) for b in plan.blocks[1:]]
    return Golden(
        plan,
        weights,
        double("images"),
        labels,
        (zen_weights, double("draws/images"), double("draws/noise")),
        _cut(double("draws/signs"), shapes),
        passes,
        scores,
    )


def _cut(flat: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Arrays that lie end to end."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    assert len(flat) == ends[-1], (len(flat), ends[-1])
    return [a.reshape(s) for a, s in zip(np.split(flat, ends[:-1]), shapes, strict=True)]


def _weights(layers: list[Layer], kernels: list, biases: list) -> list[dict[str, np.ndarray]]:
    kernels, biases = iter(kernels), iter(biases)
    return [
        ({"kernel": next(kernels)} if layer.has_kernel else {})
        | ({"bias": next(biases)} if layer.bias else {})
        for layer in layers
    ]
