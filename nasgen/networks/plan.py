"""An architecture as a straight-line program of layers: the one description of every network.

A plan lists steps in execution order. Step `i` sums the values it names, applies its layer and
yields value `i + 1`; value 0 is the network's input. The Linen module, the exact costs, the
zero-cost proxies' compiled programs and the exported source all read the same plan, so they
cannot disagree. The rules are those of Xiang et al. (ICML 2024); see each function.
"""

from typing import NamedTuple

from nasgen.networks.ops import out_size
from nasgen.types import Architecture, Cell, Op, Task


class Layer(NamedTuple):
    """One layer: optional ReLU, a linear map, optional batch norm. Hashable: it is a signature.

    kind: `conv`, `depthwise`, `avg_pool`, `linear` (after a global average pool) or `identity`.
    norm: `affine`, `plain` (no scale and shift) or `none`.
    """

    kind: str
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    relu: bool = False
    bias: bool = False
    norm: str = "none"

    @property
    def has_kernel(self) -> bool:
        """Whether the layer is a convolution or linear: what proxies and costs count."""
        return self.kind in ("conv", "depthwise", "linear")


class Step(NamedTuple):
    """A layer at work: its name in the network, the values it sums, its sizes in pixels."""

    name: str
    layer: Layer
    inputs: tuple[int, ...]
    in_size: tuple[int, int]
    out_size: tuple[int, int]


class Plan(NamedTuple):
    """All steps; the last one yields the logits."""

    steps: tuple[Step, ...]
    input_shape: tuple[int, int, int]
    num_classes: int


def make_plan(architecture: Architecture, ops: tuple[Op, ...], task: Task) -> Plan:
    """The network of `architecture` for `task`; `ops` is the vocabulary of its cells' space."""
    height, width, channels = task.input_shape
    builder = _Builder([], {0: (height, width)})
    stages, final_width = architecture.macro
    width0 = stages[0].channels
    stem = Layer("conv", channels, width0, 3, task.stem_stride, norm="affine")
    value, channels = builder.add("stem", stem, (0,)), width0
    for s, (stage, cell) in enumerate(zip(stages, architecture.cells, strict=True)):
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            name = f"stage{s}_cell{repeat}"
            value = _add_cell(builder, name, cell, ops, value, channels, stage.channels, stride)
            channels = stage.channels
    value = builder.add("head_norm", Layer("identity", channels, channels, norm="affine"), (value,))
    last = Layer("conv", channels, final_width, relu=True, norm="affine")
    value = builder.add("head_conv", last, (value,))
    classifier = Layer("linear", final_width, task.num_classes, bias=True)
    builder.add("classifier", classifier, (value,))
    return Plan(tuple(builder.steps), task.input_shape, task.num_classes)


class _Builder(NamedTuple):
    steps: list[Step]
    sizes: dict[int, tuple[int, int]]

    def add(self, name: str, layer: Layer, inputs: tuple[int, ...]) -> int:
        """Appends a step; returns the number of its value."""
        size = self.sizes[inputs[0]]
        after = tuple(out_size(n, layer.stride) for n in size)
        after = (1, 1) if layer.kind == "linear" else after
        self.steps.append(Step(name, layer, inputs, size, after))
        self.sizes[len(self.steps)] = after
        return len(self.steps)


def _add_cell(
    builder: _Builder,
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
        value = builder.add(f"{name}_proj", projection, (raw,))
    values = {0: value}
    for node, op_index in enumerate(cell.ops, start=1):
        parents = [parent for parent, child in cell.edges if child == node]
        if changes and parents == [0]:
            chain, inputs = op_layers(ops[op_index], in_channels, channels, stride), (raw,)
        else:
            chain = op_layers(ops[op_index], channels, channels, 1)
            inputs = tuple(values[parent] for parent in parents)
        for suffix, layer in chain:
            inputs = (builder.add(f"{name}_node{node}_{suffix}", layer, inputs),)
        values[node] = inputs[0]
    parents = tuple(values[parent] for parent, child in cell.edges if child == output)
    if len(parents) == 1:
        return parents[0]
    return builder.add(f"{name}_sum", Layer("identity", channels, channels), parents)


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


def weight_shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    """The trainable arrays of a layer and their shapes."""
    i, o, k = layer.in_channels, layer.out_channels, layer.kernel
    kernels = {"conv": (k, k, i, o), "depthwise": (k, k, i), "linear": (i, o)}
    shapes = {"kernel": kernels[layer.kind]} if layer.has_kernel else {}
    if layer.bias:
        shapes["bias"] = (o,)
    if layer.norm == "affine":
        shapes |= {"scale": (o,), "shift": (o,)}
    return shapes
