"""Exact costs of networks: params, MACs, layers, depth, activation memory.

`count` reads them off a plan. `count_many` computes them in closed form for thousands of
architectures at once (the tests hold it equal to `count` and to Flax). `bounds` gives lower bounds
over all cells, for decoding under a budget. MACs are multiply-adds of convolutions and linear
layers for one example; FLOPs are twice that. Activation memory is the float32 bytes of all layer
outputs of one example.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Int

from nasgen.networks.ops import out_size
from nasgen.networks.plan import Layer, Plan, Step, weight_shapes
from nasgen.networks.plans.open import EXPANSIONS
from nasgen.spaces import graphs
from nasgen.types import ABSENT, MAX_NODES, Architecture, CellBatch, Costs, Op, Task

_BYTES = 4


def count(plan: Plan) -> Costs:
    """The exact costs of one network."""
    params = sum(math.prod(s) for step in plan.steps for s in weight_shapes(step.layer).values())
    depths = [0]
    for step in plan.steps:
        depths.append(max(depths[i] for i in step.inputs) + step.layer.has_kernel)
    return Costs(
        params=params,
        macs=sum(map(step_macs, plan.steps)),
        layers=sum(step.layer.has_kernel for step in plan.steps),
        depth=depths[-1],
        activation_memory=sum(
            _BYTES * math.prod(step.out_size) * step.layer.out_channels for step in plan.steps
        ),
    )


def step_macs(step: Step) -> int:
    """Multiply-adds of one step for one example."""
    layer: Layer = step.layer
    if not layer.has_kernel:
        return 0
    return math.prod(weight_shapes(layer)["kernel"]) * math.prod(step.out_size)


class _Sums(NamedTuple):
    """Additive costs, as arrays that broadcast."""

    params: np.ndarray
    macs: np.ndarray
    layers: np.ndarray
    activations: np.ndarray

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(*(a + b for a, b in zip(self, other, strict=True)))

    def __mul__(self, factor) -> "_Sums":
        return _Sums(*(a * factor for a in self))


def _layer(kernel_size, out_channels, pixels, *, norm: int = 2, bias: int = 0) -> _Sums:
    """Costs of one layer whose kernel holds `kernel_size` numbers (norm: arrays of its norm)."""
    params = kernel_size + (norm + bias) * out_channels
    return _Sums(params, kernel_size * pixels, 1 + 0 * out_channels, out_channels * pixels)


def _op_sums(op: Op, cin, cout, pixels_in, pixels_out) -> _Sums:
    """Costs of one op from `cin` to `cout` channels; arrays broadcast. See `plan.op_layers`."""
    area = op.kernel**2
    if op.kind == "avg_pool":
        match = _layer(cin * cout, cout, pixels_out, bias=1) * (cin != cout)
        return match + _Sums(0 * cin, 0 * cin, 0 * cin, cin * pixels_out)
    if op.kind == "conv":
        return _layer(area * cin * cout, cout, pixels_out)
    if op.kind in ("sep_conv", "dil_conv"):
        depthwise = _layer(area * cin, cin, pixels_out, norm=0)
        return depthwise + _layer(cin * cout, cout, pixels_out)
    ratio = round(EXPANSIONS[op.kind] * 4)
    inner = (cin * ratio) // 4
    expand = _layer(cin * inner, inner, pixels_in)
    depthwise = _layer(area * inner, inner, pixels_out)
    return expand + depthwise + _layer(inner * cout, cout, pixels_out)


def op_depth(op: Op) -> int:
    """Convolutions in a row inside one op of unchanged width."""
    return {"avg_pool": 0, "conv": 1, "sep_conv": 2, "dil_conv": 2}.get(op.kind, 3)


class _CellCounts(NamedTuple):
    """What costs depend on, per cell: op counts, split by whether the input is the only parent."""

    first: Int[np.ndarray, "cells ops"]
    other: Int[np.ndarray, "cells ops"]
    sums_output: Int[np.ndarray, " cells"]


def _cell_counts(batch: CellBatch, num_ops: int) -> _CellCounts:
    nodes, adjacency = batch.nodes, batch.adjacency
    onehot = nodes[:, :, None] == np.arange(num_ops)
    only_input = adjacency[:, 0, :] & (adjacency.sum(1) == 1)
    first = (onehot & only_input[:, :, None]).sum(1)
    return _CellCounts(first, onehot.sum(1) - first, adjacency[:, :, -1].sum(1) > 1)


def _cell_depths(batch: CellBatch, ops: Sequence[Op], changes, widens) -> np.ndarray:
    """Longest chain of convolutions through each cell."""
    own = np.array([op_depth(op) for op in ops] + [0])
    pools = np.array([op.kind == "avg_pool" for op in ops] + [False])
    codes = np.where(batch.nodes >= 0, batch.nodes, len(ops))
    only_input = batch.adjacency[:, 0, :] & (batch.adjacency.sum(1) == 1)
    depth = np.zeros(batch.nodes.shape, np.int64)
    depth[:, 0] = changes
    for v in range(1, MAX_NODES):
        reach = np.where(batch.adjacency[:, :, v], depth, 0).max(1)
        raw = only_input[:, v] & changes & (v < MAX_NODES - 1)
        matched = raw & widens & pools[codes[:, v]]
        depth[:, v] = np.where(raw, 0, reach) + own[codes[:, v]] + matched
        depth[batch.nodes[:, v] == ABSENT, v] = 0
    return depth[:, -1]


def count_many(architectures: Sequence[Architecture], ops: tuple[Op, ...], task: Task) -> Costs:
    """Exact costs of many architectures of `open` for one task, as int64 arrays `[batch]`.

    Architectures of the tabular spaces, which are cells, have plans to `count` instead.
    """
    num, most = len(architectures), max((len(a.cells) for a in architectures), default=1)
    stages = np.zeros((num, most, 3), np.int64)  # channels, stride, repeats; repeats 0: no stage
    final = np.array([a.macro.final_width for a in architectures], np.int64)
    cells = [cell for a in architectures for cell in a.cells]
    owner = [(b, s) for b, a in enumerate(architectures) for s in range(len(a.cells))]
    owner = np.array(owner, np.int64).reshape(-1, 2)
    rows = np.array([s[1:] for a in architectures for s in a.macro.stages], np.int64)
    stages[owner[:, 0], owner[:, 1]] = rows.reshape(-1, 3)
    batch = graphs.pack(cells)

    height, width = (np.full(num, out_size(n, task.stem_stride)) for n in task.input_shape[:2])
    stem_width = stages[:, 0, 0]
    total = _layer(9 * task.input_shape[2] * stem_width, stem_width, height * width)
    depth = np.full(num, 3)  # stem, last convolution, classifier
    counts = _cell_counts(batch, len(ops))
    channels = stem_width
    for s in range(most):
        here = owner[:, 1] == s
        b = owner[here, 0]
        stage = _take_cells(counts, here)
        cin, (cout, stride, repeats) = channels[b], stages[b, s].T
        before = height[b] * width[b]
        height[b], width[b] = -(-height[b] // stride), -(-width[b] // stride)
        after = height[b] * width[b]
        changes = (stride != 1) | (cin != cout)
        sums = _cell_sums(stage, ops, cin, cout, before, after, changes)
        plain = _cell_sums(stage, ops, cout, cout, after, after, changes & False)
        _add_at(total, b, sums + plain * (repeats - 1))
        part = CellBatch(batch.nodes[here], batch.adjacency[here])
        depth[b] += _cell_depths(part, ops, changes, cin != cout)
        depth[b] += (repeats - 1) * _cell_depths(part, ops, changes & False, changes & False)
        channels = channels.copy()
        channels[b] = cout
    total = total + _head_sums(channels, final, task.num_classes, height * width)
    return Costs(total.params, total.macs, total.layers, depth, _BYTES * total.activations)


def _take_cells(counts: _CellCounts, index) -> _CellCounts:
    return _CellCounts(*(part[index] for part in counts))


def _add_at(total: _Sums, index, part: _Sums) -> None:
    for whole, piece in zip(total, part, strict=True):
        whole[index] += piece


def _cell_sums(counts: _CellCounts, ops, cin, cout, before, after, changes) -> _Sums:
    total = _layer(cin * cout, cout, after) * changes  # the projection of the input
    total = total + _Sums(0, 0, 0, cout * after * counts.sums_output)
    for i, op in enumerate(ops):
        plain = counts.other[:, i] + counts.first[:, i] * ~changes
        total = total + _op_sums(op, cout, cout, after, after) * plain
        raw = counts.first[:, i] * changes
        if raw.any():
            total = total + _op_sums(op, cin, cout, before, after) * raw
    return total


def _head_sums(channels, final, num_classes, pixels) -> _Sums:
    norm = _Sums(2 * channels, 0, 0, channels * pixels)
    last = _layer(channels * final, final, pixels)
    classifier = _layer(final * num_classes, 0 * final + num_classes, 1, norm=0, bias=1)
    return norm + last + classifier


class Bounds(NamedTuple):
    """Lower bounds of costs for one task, as JAX functions that broadcast over float32 arrays.

    Each returns costs `[..., 3]` (params, MACs, activation memory) as float32.
    `stem(channels, height, width) -> costs, height, width`;
    `stage(in_channels, channels, stride, repeats, height, width) -> costs, height, width`, over
    every cell of the space; `head(channels, final_width, height, width) -> costs`.
    """

    stem: Callable
    stage: Callable
    head: Callable


def bounds(task: Task) -> Bounds:
    """The bounds for `task`, a pytree: its numbers are leaves, so that what is compiled with the
    bounds of one task serves every other."""
    stem = Partial(_stem_bound, jnp.float32(task.input_shape[2]), jnp.float32(task.stem_stride))
    return Bounds(stem, Partial(_stage_bound), Partial(_head_bound, jnp.float32(task.num_classes)))


def _stem_bound(input_channels, stride, channels, height, width):
    height, width = _halved(height, stride), _halved(width, stride)
    return _stack(_layer(9 * input_channels * channels, channels, height * width)), height, width


def _stage_bound(in_channels, channels, stride, repeats, height, width):
    """A stage costs at least the projection of its input where stride or width change; every cell
    also holds one op, whose cheapest kind (pooling) has no weights."""
    height, width = _halved(height, stride), _halved(width, stride)
    pixels = height * width
    changes = (stride != 1) | (in_channels != channels)
    first = _layer(in_channels * channels, channels, pixels) * changes
    pool = _Sums(0, 0, 0, jnp.minimum(in_channels, channels) * pixels)
    rest = _Sums(0, 0, 0, channels * pixels) * (repeats - 1)
    return _stack(first + pool + rest), height, width


def _head_bound(num_classes, channels, final_width, height, width):
    return _stack(_head_sums(channels, final_width, num_classes, height * width))


def _halved(size, stride):
    return jnp.ceil(size / stride)


def _stack(sums: _Sums):
    parts = (sums.params, sums.macs, _BYTES * sums.activations)
    return jnp.stack(jnp.broadcast_arrays(*(jnp.asarray(p, jnp.float32) for p in parts)), -1)
