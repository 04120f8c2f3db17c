"""Exact costs of networks: params, MACs, layers, depth, activation memory.

`count` reads them off a plan. `count_many` computes them in closed form (`cost_polynomials`) for
thousands of architectures at once (the tests hold it equal to `count` and to Flax). `bounds` gives
lower bounds over all cells, for decoding under a budget. MACs are multiply-adds of convolutions and
linear layers for one example; FLOPs are twice that. Activation memory is the float32 bytes of all
layer outputs of one example.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Int

from nasgen.networks.cost_polynomials import BYTES, evaluate, op_counts, polynomials
from nasgen.networks.plan import Plan, Step, kernel_size, num_weights
from nasgen.networks.plans.open import op_layers
from nasgen.spaces import graphs, macro
from nasgen.types import (
    ABSENT,
    CHANNEL_STEP,
    MAX_NODES,
    Architecture,
    CellBatch,
    Costs,
    MacroBatch,
    Op,
    Task,
)


def count(plan: Plan) -> Costs:
    """The exact costs of one network."""
    depths = [0]
    for step in plan.steps:
        depths.append(max(depths[i] for i in step.inputs) + step.layer.has_kernel)
    return Costs(
        params=sum(num_weights(step.layer) for step in plan.steps),
        macs=sum(map(step_macs, plan.steps)),
        layers=sum(step.layer.has_kernel for step in plan.steps),
        depth=depths[-1],
        activation_memory=sum(
            BYTES * math.prod(step.out_size) * step.layer.out_channels for step in plan.steps
        ),
    )


def step_macs(step: Step) -> int:
    """Multiply-adds of one step for one example."""
    if not step.layer.has_kernel:
        return 0
    return kernel_size(step.layer) * math.prod(step.out_size)


class _Sums(NamedTuple):
    """Additive costs, as arrays that broadcast."""

    params: np.ndarray
    macs: np.ndarray
    activations: np.ndarray

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(*(a + b for a, b in zip(self, other, strict=True)))

    def __mul__(self, factor) -> "_Sums":
        return _Sums(*(a * factor for a in self))


def _layer(kernel_size, out_channels, pixels, *, norm: int = 2, bias: int = 0) -> _Sums:
    """Costs of one layer whose kernel holds `kernel_size` numbers (norm: arrays of its norm)."""
    params = kernel_size + (norm + bias) * out_channels
    return _Sums(params, kernel_size * pixels, out_channels * pixels)


def count_many(
    architectures: Sequence[Architecture], ops: tuple[Op, ...], tasks: Task | Sequence[Task]
) -> Costs:
    """Exact costs of many architectures of `open`, for one task or for one each, as int64 arrays
    `[batch]`.

    Architectures of the tabular spaces, which are cells, and those with an excitation have plans to
    `count` instead: ValueError for these.
    """
    if any(one.excitation for one in architectures):
        raise ValueError("`architectures` must have no excitation; count their plans instead.")
    macros = macro.pack([one.macro for one in architectures])
    cells = graphs.pack([cell for one in architectures for cell in one.cells])
    tasks = [tasks] * len(architectures) if isinstance(tasks, Task) else tasks
    return count_batch(macros, cells, ops, tasks)


def count_batch(
    macros: MacroBatch, cells: CellBatch, ops: tuple[Op, ...], tasks: Sequence[Task]
) -> Costs:
    """`count_many` of arrays; `cells` stand row by row."""
    steps, finals = macros.channels // CHANNEL_STEP, macros.final_widths // CHANNEL_STEP
    polynomial = polynomials(macros, cells, ops, tasks)
    choices = (array[:, None] for array in (steps, finals, macros.repeats))
    params, macs, memory = evaluate(polynomial, *choices)[:, 0].T.astype(np.int64)
    layers, depth = _layers_and_depth(macros, cells, ops, tasks)
    return Costs(params, macs, layers, depth, memory)


def _layers_and_depth(macros: MacroBatch, cells: CellBatch, ops: tuple[Op, ...], tasks) -> tuple:
    """Layers, and the most of them on one path, of every network."""
    there, channels = macros.repeats > 0, macros.channels
    inputs = np.concatenate([channels[:, :1], channels[:, :-1]], 1)
    widens = (inputs != channels)[there]
    changes = widens | (macros.strides[there] != 1)
    pools = np.array([op.kind == "avg_pool" for op in ops])
    own = np.array([len(op_layers(op, 8, 8, 1)) for op in ops]) - pools
    first, other, _ = op_counts(cells, len(ops))
    again = ((first + other) @ own).astype(np.int64)
    matched = (first @ pools).astype(np.int64) * widens
    depths = np.where(pools, 0, own)
    again_depth = _cell_depths(cells, depths, pools, changes & False, widens)
    first_depth = _cell_depths(cells, depths, pools, changes, widens)
    repeats = macros.repeats[there] - 1
    totals = (
        again * (repeats + 1) + changes + matched,
        first_depth + repeats * again_depth,
    )
    dense = np.array([task.is_dense for task in tasks], np.int64)
    found = []
    for total in totals:
        whole = np.zeros(there.shape, np.int64)
        whole[there] = total
        found.append(whole.sum(1) + 3 + dense)  # stem, last convolution, classifier; smoothing
    found[0] += dense * (macros.strides == 2).sum(1)
    return tuple(found)


def _cell_depths(batch: CellBatch, own, pools, changes, widens) -> Int[np.ndarray, " cells"]:
    """Longest chain of convolutions through each cell. own: of each op, its layers in a row."""
    own, pools = np.append(own, 0), np.append(pools, False)
    codes = np.where(batch.nodes >= 0, batch.nodes, len(own) - 1)
    only_input = batch.adjacency[:, 0, :] & ~batch.adjacency[:, 1:, :].any(1)
    depth = np.zeros(batch.nodes.shape, np.int64)
    depth[:, 0] = changes
    for v in range(1, MAX_NODES):
        reach = np.where(batch.adjacency[:, :, v], depth, 0).max(1)
        raw = only_input[:, v] & changes & (v < MAX_NODES - 1)
        matched = raw & widens & pools[codes[:, v]]
        depth[:, v] = np.where(raw, 0, reach) + own[codes[:, v]] + matched
        depth[batch.nodes[:, v] == ABSENT, v] = 0
    return depth[:, -1]


class Bounds(NamedTuple):
    """Lower bounds of costs for one task (`vmap` those of several), as JAX functions that broadcast
    over float32 arrays.

    Each returns costs `[..., 3]` (params, MACs, activation memory) as float32.
    `stem(channels, height, width) -> costs, height, width`;
    `stage(in_channels, channels, stride, repeats, height, width) -> costs, height, width`, over
    every cell of the space; `head(channels, final_width, height, width) -> costs`.
    """

    stem: Callable
    stage: Callable
    head: Callable


def bounds(tasks: Sequence[Task]) -> Bounds:
    """The bounds for a row of requests, a pytree of arrays `[requests]`, the numbers of their
    tasks; see `Bounds`. What is compiled with the bounds of some tasks serves all others."""
    numbers = [(t.channels, t.stem_stride, t.num_classes, t.is_dense, 3**t.dims) for t in tasks]
    channels, strides, classes, dense, area = np.reshape(numbers, (-1, 5)).T.astype(np.float32)
    stem = Partial(_stem_bound, channels, strides, classes, dense, area)
    return Bounds(stem, Partial(_stage_bound, dense), Partial(_head_bound, classes, dense))


def _stem_bound(input_channels, stride, classes, dense, area, channels, height, width):
    """Of a dense task also the last two layers, which work at this size, at the least width. area:
    of windows of three."""
    height, width = _halved(height, stride), _halved(width, stride)
    pixels = height * width
    own = _layer(area * input_channels * channels, channels, pixels)
    smooth = _layer(area * CHANNEL_STEP, CHANNEL_STEP, pixels)
    classifier = _layer(CHANNEL_STEP * classes, classes, pixels, norm=0, bias=1)
    return _stack(own + (smooth + classifier) * dense), height, width


def _stage_bound(dense, in_channels, channels, stride, repeats, height, width):
    """A stage costs at least the projection of its input where stride or width change; every cell
    also holds one op, whose cheapest kind (pooling) has no weights. What a dense task's head makes
    of the map before a stride costs at least what it does at the least width."""
    finer = height * width
    height, width = _halved(height, stride), _halved(width, stride)
    pixels = height * width
    changes = (stride != 1) | (in_channels != channels)
    first = _layer(in_channels * channels, channels, pixels) * changes
    pool = _Sums(0, 0, jnp.minimum(in_channels, channels) * pixels)
    rest = _Sums(0, 0, channels * pixels) * (repeats - 1)
    lateral = _layer(in_channels * CHANNEL_STEP, CHANNEL_STEP, finer)
    lateral = (lateral + _Sums(0, 0, CHANNEL_STEP * finer)) * (dense * (stride != 1))
    return _stack(first + pool + rest + lateral), height, width


def _head_bound(num_classes, dense, channels, final_width, height, width):
    pixels = height * width
    norm = _Sums(2 * channels, 0, channels * pixels)
    last = _layer(channels * final_width, final_width, pixels)
    classifier = _layer(final_width * num_classes, 0 * final_width + num_classes, 1, norm=0, bias=1)
    return _stack(norm + last + classifier * (1 - dense))


def _halved(size, stride):
    return jnp.ceil(size / stride)


def _stack(sums: _Sums):
    parts = (sums.params, sums.macs, BYTES * sums.activations)
    return jnp.stack(jnp.broadcast_arrays(*(jnp.asarray(p, jnp.float32) for p in parts)), -1)
