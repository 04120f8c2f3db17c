"""`open`: networks of the paper, by the rules of Xiang et al. (ICML 2024); see each function."""

from nasgen.networks.plan import Builder, Layer, Plan, builder
from nasgen.types import Architecture, Cell, Op, Task


def make_plan(architecture: Architecture, ops: tuple[Op, ...], task: Task) -> Plan:
    """The network of `architecture` for `task`; `ops` is the vocabulary of its cells' space."""
    channels = task.input_shape[2]
    build = builder(task.input_shape)
    stages, final_width = architecture.macro
    width0 = stages[0].channels
    stem = Layer("conv", channels, width0, 3, task.stem_stride, norm="affine")
    value, channels = build.add("stem", stem, (0,)), width0
    blocks = [value]
    for s, (stage, cell) in enumerate(zip(stages, architecture.cells, strict=True)):
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            name = f"stage{s}_cell{repeat}"
            value = _add_cell(build, name, cell, ops, value, channels, stage.channels, stride)
            channels = stage.channels
            blocks.append(value)
    value = build.add("head_norm", Layer("identity", channels, channels, norm="affine"), (value,))
    last = Layer("conv", channels, final_width, relu=True, norm="affine")
    value = build.add("head_conv", last, (value,))
    classifier = Layer("linear", final_width, task.num_classes, bias=True)
    build.add("classifier", classifier, (value,))
    return Plan(tuple(build.steps), task.input_shape, task.num_classes, tuple(blocks))


def _add_cell(
    build: Builder,
    name: str,
    cell: Cell,
    ops: tuple[Op, ...],
    value: int,
    in_channels: int,
    channels: int,
    stride: int,
) -> int:
    """One cell. If stride or width change, the input is projected (ReLU, 1x1, BN) for whoever sums
    it; an op whose only parent is the input takes the raw input and makes the change itself."""
    raw, output = value, len(cell.ops) + 1
    changes = stride != 1 or in_channels != channels
    if changes:
        projection = Layer("conv", in_channels, channels, stride=stride, relu=True, norm="affine")
        value = build.add(f"{name}_proj", projection, (raw,))
    values = {0: value}
    for node, op_index in enumerate(cell.ops, start=1):
        parents = [parent for parent, child in cell.edges if child == node]
        if changes and parents == [0]:
            chain, inputs = op_layers(ops[op_index], in_channels, channels, stride), (raw,)
        else:
            chain = op_layers(ops[op_index], channels, channels, 1)
            inputs = tuple(values[parent] for parent in parents)
        for suffix, layer in chain:
            inputs = (build.add(f"{name}_node{node}_{suffix}", layer, inputs),)
        values[node] = inputs[0]
    parents = tuple(values[parent] for parent, child in cell.edges if child == output)
    if len(parents) == 1:
        return parents[0]
    return build.add(f"{name}_sum", Layer("identity", channels, channels), parents)


def op_layers(op: Op, in_channels: int, channels: int, stride: int) -> list[tuple[str, Layer]]:
    """The layers of one op, named: the paper's definitions, in the order they run."""
    kernel = op.kernel
    norm = dict(norm="affine")
    if op.kind == "avg_pool":
        pool = Layer("avg_pool", in_channels, in_channels, kernel, stride, norm="plain")
        match = Layer("conv", in_channels, channels, relu=True, bias=True, norm="affine")
        return [("pool", pool)] + ([("match", match)] if in_channels != channels else [])
    if op.kind == "conv":
        conv = Layer("conv", in_channels, channels, kernel, stride, relu=True, **norm)
        return [("conv", conv)]
    if op.kind in ("sep_conv", "dil_conv"):
        dilation = 2 if op.kind == "dil_conv" else 1
        depth = Layer("depthwise", in_channels, in_channels, kernel, stride, dilation, relu=True)
        return [("depthwise", depth), ("pointwise", Layer("conv", in_channels, channels, **norm))]
    inner = inner_width(op.kind, in_channels)
    return [
        ("expand", Layer("conv", in_channels, inner, relu=True, **norm)),
        ("depthwise", Layer("depthwise", inner, inner, kernel, stride, relu=True, **norm)),
        ("project", Layer("conv", inner, channels, relu=True, **norm)),
    ]


EXPANSIONS = {"mbconv_2": 2, "mbconv_3": 3, "mbconv_6": 6, "bconv_05": 0.5, "bconv_025": 0.25}


def inner_width(kind: str, in_channels: int) -> int:
    """Channels inside an inverted bottleneck (mbconv) or a bottleneck (bconv)."""
    if kind not in EXPANSIONS:
        raise ValueError(f"`kind` must be an op of the open space; got {kind!r}.")
    return int(in_channels * EXPANSIONS[kind])
