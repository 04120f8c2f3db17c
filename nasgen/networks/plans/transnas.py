"""`transnas_micro`: the classifiers of TransNAS-Bench-101's micro space (Duan et al., CVPR 2021).

A stem of two strided 3x3 convolutions; five modules of two cells, where a module of type 4 doubles
the channels and halves the resolution in its first cell and one of type 1 changes nothing; global
average, classifier. Parameters are those of the authors' code (`64-41414`).
"""

from functools import partial

from nasgen.networks.plan import Builder, Layer, Plan, builder
from nasgen.networks.plans import edge_cells
from nasgen.spaces.transnas import OPS
from nasgen.types import Cell, Op, Task


def make_plan(
    cell: Cell, task: Task, *, channels: int = 64, modules: str = "41414", cells: int = 2
) -> Plan:
    """The network of `cell` for `task`. channels: of the stem, even. modules: a type 1..4 each (2
    and 4 double the channels, 3 and 4 halve the resolution). cells: in each module."""
    build = builder(task.input_shape)
    half = channels // 2
    first = Layer("conv", task.input_shape[2], half, 3, 2, norm="affine")
    value = build.add("stem_a", first, (0,))
    second = Layer("conv", half, channels, 3, 2, relu=True, norm="affine")
    value = build.add("stem_b", second, (value,))
    blocks = [value]
    for m, kind in enumerate(modules):
        for repeat in range(cells):
            width = channels * 2 if repeat == 0 and kind in "24" else channels
            stride = 2 if repeat == 0 and kind in "34" else 1
            name = f"stage{m}_cell{repeat}"
            value = _add_cell(build, name, cell, value, channels, width, stride)
            channels = width
            blocks.append(value)
    build.add("classifier", Layer("linear", channels, task.num_classes, bias=True), (value,))
    return Plan(tuple(build.steps), task.input_shape, task.num_classes, tuple(blocks), task.loss)


def _add_cell(
    build: Builder, name: str, cell: Cell, value: int, channels: int, width: int, stride: int
) -> int:
    change = Layer("identity", channels, width, stride=stride)
    add_op = partial(_add_op, build, change)
    return edge_cells.add_cell(build, name, cell, OPS, add_op, value, change)


def _add_op(
    build: Builder, change: Layer, name: str, op: Op, inputs: tuple[int, ...], at_input: bool
) -> int:
    """One op; those that read the cell's input carry the stride and the change of width."""
    width = change.out_channels
    before, stride = (change.in_channels, change.stride) if at_input else (width, 1)
    if op.kind != "skip_connect":
        conv = Layer("conv", before, width, op.kernel, stride, relu=True, norm="affine")
        return build.add(f"{name}_conv", conv, inputs)
    if (before, stride) == (width, 1):
        return inputs[0]
    return _add_factorized_reduce(build, name, inputs, before, width, stride)


def _add_factorized_reduce(
    build: Builder, name: str, inputs: tuple[int, ...], channels: int, width: int, stride: int
) -> int:
    """ReLU; two strided 1x1 convolutions to half the channels each, the second on the image moved
    by a pixel; side by side; batch norm."""
    active = build.add(f"{name}_relu", Layer("identity", channels, channels, relu=True), inputs)
    moved = build.add(f"{name}_shift", Layer("shift", channels, channels), (active,))
    halves = []
    for letter, source in (("a", active), ("b", moved)):
        conv = Layer("conv", channels, width // 2, stride=stride)
        half = build.add(f"{name}_conv_{letter}", conv, (source,))
        place = Layer("place", width // 2, width, offset=len(halves) * (width // 2))
        halves.append(build.add(f"{name}_place_{letter}", place, (half,)))
    return build.add(f"{name}_norm", Layer("identity", width, width, norm="affine"), tuple(halves))
