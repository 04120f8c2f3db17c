"""Exact costs of many networks of `open`, each for its own task, as polynomials of their widths.

Where cells, strides and the task are fixed, params, MACs and activation memory are sums of products
of at most two widths: of the input and the output of each stage, and of the final width. Widths
count in steps of `CHANNEL_STEP`, in which even a quarter of a width is a multiple of 2, so every
coefficient is a whole number and every sum, far below 2^53, is exact in float64.

A stage's polynomial has one of two forms: of equal widths (u = c) or of different ones (u to c),
which add a projection, and a 1x1 convolution behind a pooling. A stage repeated once more costs
what `again` says.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nasgen.networks.ops import out_size
from nasgen.networks.plan import Layer
from nasgen.networks.plans.open import op_layers
from nasgen.types import CHANNEL_STEP, CellBatch, MacroBatch, Op, Task

COSTS = ("params", "macs", "activation_memory")
BYTES = 4

# Products of a stage's input width u and its own c, and how many numbers one step of each stands
# for. A layer's terms: its kernel in all five, its norm and its values in u and c alone.
_PRODUCTS = ("uu", "uc", "cc", "u", "c")
_UNITS = np.array([CHANNEL_STEP**2] * 3 + [CHANNEL_STEP] * 2, float)
_KERNEL, _NORM, _VALUES = slice(0, 5), slice(5, 7), slice(7, 9)
_NUM_TERMS = 9


class Polynomials(NamedTuple):
    """Costs (`COSTS`) of a batch of networks as functions of widths (in steps) and repeats.

    stages: coefficients of uu, uc, cc, u, c where u and c differ, of cc, c where they are equal,
        and of cc, c once more for every further repeat; each for all stages.
    maps: coefficients of each stage's input width times the final width, which the maps before
        strides have in the head of a dense task.
    stem, final, last: coefficients of the first stage's width, the final width, the last stage's.
    product: of the last stage's times the final width. constant: what no width changes.
    end: the last stage's place.
    """

    stages: Float[np.ndarray, "batch products costs"]
    maps: Float[np.ndarray, "batch stages costs"]
    stem: Float[np.ndarray, "batch costs"]
    final: Float[np.ndarray, "batch costs"]
    last: Float[np.ndarray, "batch costs"]
    product: Float[np.ndarray, "batch costs"]
    constant: Float[np.ndarray, "batch costs"]
    end: Int[np.ndarray, " batch"]


def take(polynomials: Polynomials, index) -> Polynomials:
    """Those of the networks at `index`."""
    return Polynomials(*(part[index] for part in polynomials))


def evaluate(
    polynomials: Polynomials,
    steps: Int[np.ndarray, "batch choices stages"],
    final_steps: Int[np.ndarray, "batch choices"],
    repeats: Int[np.ndarray, "batch choices stages"],
) -> Float[np.ndarray, "batch choices costs"]:
    """Costs of every network for some choices of its widths and repeats; whole numbers."""
    c = steps.astype(np.float64)
    u = np.concatenate([c[..., :1], c[..., :-1]], -1)
    differ = (u != c).astype(np.float64)
    equal, again = 1 - differ, repeats - 1.0
    square, ud, cd = c * c, u * differ, c * differ
    parts = (u * ud, c * ud, c * cd, ud, cd, square * equal, c * equal, square * again, c * again)
    costs = np.concatenate(parts, -1) @ polynomials.stages
    end = np.broadcast_to(polynomials.end[:, None, None], (*c.shape[:2], 1))
    last, final = np.take_along_axis(c, end, -1), final_steps[..., None]
    _, maps, stem, per_final, per_last, product, constant, _ = polynomials
    if maps.any():
        costs += (u * final) @ maps
    costs += c[..., :1] * stem[:, None] + final * per_final[:, None] + last * per_last[:, None]
    return costs + (last * final) * product[:, None] + constant[:, None]


def polynomials(
    macros: MacroBatch, cells: CellBatch, ops: tuple[Op, ...], tasks: Sequence[Task]
) -> Polynomials:
    """The polynomials of networks whose cells stand in `cells` row by row; one task for each."""
    there = macros.repeats > 0
    pixels = stage_pixels(macros.strides, tasks)
    before, after = pixels[:, :-1][there], pixels[:, 1:][there]
    series = np.array([task.is_series for task in tasks], bool)
    of_cells = np.broadcast_to(series[:, None], there.shape)[there]
    different, equal, again = _cell_terms(cells, ops, macros.strides[there] != 1, of_cells)
    rows = (
        _costs(different, before, after),
        _collapsed(_costs(equal, before, after)),
        _collapsed(_costs(again, after, after)),
    )
    blocks = []
    for part in rows:
        block = np.zeros((*there.shape, *part.shape[1:]))
        block[there] = part
        blocks.append(np.moveaxis(block, 2, 1))  # [batch, products, stages, costs]
    stages = np.concatenate(blocks, 1)
    stages = stages.reshape(len(there), stages.shape[1] * stages.shape[2], len(COSTS))
    # area: of windows of three
    numbers = [(t.channels, t.num_classes, t.is_dense, t.stem_stride, 3**t.dims) for t in tasks]
    channels, classes, dense, stem_stride, area = np.reshape(numbers, (-1, 5)).T.astype(float)
    first, end = pixels[:, 0], pixels[:, -1]
    step, zero, one = float(CHANNEL_STEP), np.zeros(len(there)), np.ones(len(there))
    table = {
        "stem": (
            step * (area * channels + 2),
            step * area * channels * first,
            step * BYTES * first,
        ),
        "final": (step * (2 + classes), step * classes, step * BYTES * end),
        "last": (2 * step * one, zero, step * BYTES * end),
        "product": (step**2 * one, step**2 * end, zero),
        "constant": (classes, zero, BYTES * classes),
    }
    columns = {name: _rows(*parts) for name, parts in table.items()}
    maps = np.zeros((*there.shape, len(COSTS)))
    if dense.any():
        strided, inputs = dense[:, None] * (macros.strides == 2), pixels[:, :-1]
        maps = step**2 * np.stack([strided, strided * inputs, 0 * strided], 2)
        raised = (strided * inputs).sum(1)
        columns["final"] += _rows(  # each map's norm, its values and those doubled; the last two
            2 * step * strided.sum(1) + dense * step * (area + 2),
            dense * step * (area * first + classes * (first - 1)),
            BYTES * step * (2 * raised + dense * first),
        )
        whole = np.array([t.sides for t in tasks]).prod(1) * (stem_stride == 2)
        columns["constant"] += _rows(zero, zero, dense * BYTES * classes * (first - 1 + whole))
    end = np.maximum(there.sum(1) - 1, 0)
    return Polynomials(stages=stages, maps=maps, **columns, end=end)


def _rows(*columns: np.ndarray) -> Float[np.ndarray, "batch costs"]:
    return np.stack(columns, 1)


def stage_pixels(
    strides: Int[np.ndarray, "batch stages"], tasks: Sequence[Task]
) -> Float[np.ndarray, "batch ends"]:
    """Pixels behind the stem and behind every stage (absent ones change nothing)."""
    sides = np.array([[out_size(n, t.stem_stride) for n in t.sides] for t in tasks])
    sides = sides.reshape(-1, 2)
    pixels = [sides.prod(1)]
    for stride in strides.T:
        sides = -(-sides // np.maximum(stride, 1)[:, None])
        pixels.append(sides.prod(1))
    return np.stack(pixels, 1).astype(np.float64)


def _cell_terms(cells: CellBatch, ops: tuple[Op, ...], strided, series) -> tuple[np.ndarray, ...]:
    """Terms `[cells, 2, terms]` of a stage's first cell, where its width changes and where not, and
    of a further one. See `_op_terms`. series: which cells are in networks of series."""
    if not series.any():
        return _cell_terms_of(cells, ops, strided, 2)
    both = zip(*(_cell_terms_of(cells, ops, strided, dims) for dims in (1, 2)), strict=True)
    return tuple(np.where(series[:, None, None], one, two) for one, two in both)


def _cell_terms_of(cells, ops: tuple[Op, ...], strided, dims: int) -> tuple[np.ndarray, ...]:
    equal, different = op_tables(ops, dims)
    first, other, sums_output = op_counts(cells, len(ops))
    output = np.zeros((2, _NUM_TERMS))
    output[1, _VALUES.stop - 1] = 1
    projection = _layer_terms(Layer("conv", 8, 8, norm="affine"), (1, 0), (0, 1))
    projection = np.stack([np.zeros(_NUM_TERMS), projection])
    plain = np.stack([0 * equal[:, 0], equal.sum(1)], 1)  # only raw inputs have the size before
    rest = np.tensordot(other, plain, 1) + sums_output[:, None, None] * output
    again = rest + np.tensordot(first, plain, 1)
    changed = rest + projection + np.tensordot(first, different, 1)
    raw = np.where(strided[:, None, None], projection + np.tensordot(first, equal, 1) + rest, again)
    return changed, raw, again


def op_counts(cells: CellBatch, num_ops: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often each op occurs in each cell `[cells, ops]`, as one whose only parent is the input
    and as another; and whether the cell's output is a sum."""
    nodes, adjacency = cells
    only_input = adjacency[:, 0, :] & ~adjacency[:, 1:, :].any(1)
    codes = np.arange(len(nodes))[:, None] * num_ops + nodes
    size = len(nodes) * num_ops

    def count(chosen):
        found = np.bincount(codes[chosen & (nodes >= 0)], minlength=size)
        return found.reshape(-1, num_ops).astype(np.float64)

    return count(only_input), count(~only_input), np.count_nonzero(adjacency[:, :, -1], 1) > 1


@cache
def op_tables(ops: tuple[Op, ...], dims: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """`_op_terms` of every op, between equal widths and between different ones."""
    equal, different = ([_op_terms(op, widens, dims) for op in ops] for widens in (False, True))
    return np.stack(equal), np.stack(different)


def _op_terms(op: Op, widens: bool, dims: int) -> Float[np.ndarray, "2 terms"]:
    """Terms of all layers of an op, those before its stride and those from there on."""
    pairs = ((8, 16), (16, 8)) if widens else ((8, 8), (8, 8))
    chains = [[layer for _, layer in op_layers(op, u, c, 2, dims)] for u, c in pairs]
    terms, place = np.zeros((2, _NUM_TERMS)), 0
    for layer, other in zip(*chains, strict=True):
        place = max(place, layer.stride - 1)
        widths = (layer.in_channels, other.in_channels), (layer.out_channels, other.out_channels)
        terms[place] += _layer_terms(layer, *(_form(*pair, widens) for pair in widths))
    return terms


def _form(first: int, second: int, widens: bool) -> tuple[float, float]:
    """(a, b) of a layer's width a u + b c, from its values at (8, 16) and (16, 8), or at (8, 8)."""
    if not widens:
        return 0.0, first / 8
    return (2 * second - first) / 24, (2 * first - second) / 24


def _layer_terms(layer: Layer, inputs, outputs) -> Float[np.ndarray, " terms"]:
    terms, area = np.zeros(_NUM_TERMS), math.prod(layer.window)
    (a, b), (c, d) = inputs, outputs
    if layer.kind == "conv":
        terms[_KERNEL] = area * np.array([a * c, a * d + b * c, b * d, 0, 0])
    elif layer.kind == "depthwise":
        terms[_KERNEL] = area * np.array([0, 0, 0, a, b])
    terms[_NORM] = ((2 if layer.norm == "affine" else 0) + layer.bias) * np.array(outputs)
    terms[_VALUES] = outputs
    return terms


def _costs(terms, before, after) -> Float[np.ndarray, "cells products costs"]:
    """Coefficients of every product from terms `[cells, 2, terms]`."""
    costs = np.zeros((len(terms), len(_PRODUCTS), len(COSTS)))
    for place, pixels in enumerate((before, after)):
        own = terms[:, place]
        costs[:, :, 0] += own[:, _KERNEL]
        costs[:, 3:, 0] += own[:, _NORM]
        costs[:, :, 1] += own[:, _KERNEL] * pixels[:, None]
        costs[:, 3:, 2] += own[:, _VALUES] * (BYTES * pixels)[:, None]
    return costs * _UNITS[:, None]


def _collapsed(costs) -> Float[np.ndarray, "cells 2 costs"]:
    """Where u = c: coefficients of cc and c alone."""
    uu, uc, cc, u, c = np.moveaxis(costs, 1, 0)
    return np.stack([uu + uc + cc, u + c], 1)
