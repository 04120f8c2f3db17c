"""`nb201`: the networks of NAS-Bench-201 (Dong & Yang, ICLR 2020, section 2).

A 3x3 stem with batch norm; three groups of five cells at 16, 32 and 64 channels; between them a
residual block that halves the resolution; batch norm, ReLU, global average, classifier.
"""

from functools import partial

from nasgen.networks.plan import Builder, Layer, Plan, builder
from nasgen.networks.plans import edge_cells
from nasgen.spaces.nb201 import OPS
from nasgen.types import Cell, Op, Task


def make_plan(cell: Cell, task: Task, *, channels: int = 16, cells: int = 5) -> Plan:
    """The network of `cell` for `task`. channels: of the stem. cells: in each of three groups."""
    build = builder(task.input_shape)
    value = build.add("stem", Layer("conv", task.input_shape[2], channels, 3, norm="affine"), (0,))
    blocks = [value]
    for group in range(3):
        if group > 0:
            value = _add_reduction(build, f"reduction{group}", value, channels)
            channels *= 2
            blocks.append(value)
        for repeat in range(cells):
            value = _add_cell(build, f"stage{group}_cell{repeat}", cell, value, channels)
            blocks.append(value)
    value = build.add("head_norm", Layer("identity", channels, channels, norm="affine"), (value,))
    classifier = Layer("linear", channels, task.num_classes, relu=True, bias=True)
    build.add("classifier", classifier, (value,))
    return Plan(tuple(build.steps), task.input_shape, task.num_classes, tuple(blocks), task.loss)


def _add_cell(build: Builder, name: str, cell: Cell, value: int, channels: int) -> int:
    change = Layer("identity", channels, channels)
    add_op = partial(_add_op, build, channels)
    return edge_cells.add_cell(build, name, cell, OPS, add_op, value, change)


def _add_op(
    build: Builder, channels: int, name: str, op: Op, inputs: tuple[int, ...], at_input: bool
) -> int:
    """One op: ReLU-conv-BN, or the average over 3x3 pixels without batch norm."""
    if op.kind == "skip_connect":
        return inputs[0]
    if op.kind == "avg_pool":
        return build.add(f"{name}_pool", Layer("avg_pool", channels, channels, op.kernel), inputs)
    conv = Layer("conv", channels, channels, op.kernel, relu=True, norm="affine")
    return build.add(f"{name}_conv", conv, inputs)


def _add_reduction(build: Builder, name: str, value: int, channels: int) -> int:
    """Two ReLU-conv-BN, the first with stride 2 to twice the channels, plus the average over 2x2
    pixels through a 1x1 convolution without batch norm."""
    twice = 2 * channels
    first = Layer("conv", channels, twice, 3, 2, relu=True, norm="affine")
    main = build.add(f"{name}_conv_a", first, (value,))
    second = Layer("conv", twice, twice, 3, relu=True, norm="affine")
    main = build.add(f"{name}_conv_b", second, (main,))
    short = build.add(f"{name}_pool", Layer("avg_pool", channels, channels, 2, 2), (value,))
    short = build.add(f"{name}_shortcut", Layer("conv", channels, twice), (short,))
    return build.add(f"{name}_sum", Layer("identity", twice, twice), (main, short))
