"""`open`: networks of the paper, by the rules of Xiang et al. (ICML 2024); see each function.

For series all windows are one column wide. The head of a dense task is that of a feature pyramid
(Lin et al., CVPR 2017): from the coarsest map on, each is doubled and the next finer one added to
it, all at the final width.
"""

from collections.abc import Callable
from functools import lru_cache, partial

from nasgen.networks.plan import Builder, Layer, Plan, builder
from nasgen.types import Architecture, Cell, Op, Task

Chain = tuple[tuple[str, Layer], ...]  # layers by name, each reads the one before


def make_plan(architecture: Architecture, ops: tuple[Op, ...], task: Task) -> Plan:
    """The network of `architecture` for `task`; `ops` is the vocabulary of its cells' space."""
    build, dims = builder(task.input_shape), task.dims
    stages, final_width = architecture.macro
    channels = stages[0].channels
    stem = Layer("conv", task.channels, channels, 3, task.stem_stride, norm="affine", dims=dims)
    value = build.add("stem", stem, (0,))
    blocks, maps = [value], []
    for s, (stage, cell) in enumerate(zip(stages, architecture.cells, strict=True)):
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            if stride != 1:
                maps.append((value, channels))
            name = f"stage{s}_cell{repeat}"
            widths = channels, stage.channels
            options = dict(dims=dims, excitation=architecture.excitation)
            value = _add_cell(build, name, cell, ops, value, *widths, stride, **options)
            channels = stage.channels
            blocks.append(value)
    value = build.add("head_norm", Layer("identity", channels, channels, norm="affine"), (value,))
    last = Layer("conv", channels, final_width, relu=True, norm="affine")
    value = build.add("head_conv", last, (value,))
    if task.is_dense:
        _add_dense_head(build, value, maps, final_width, task)
    else:
        classifier = Layer("linear", final_width, task.num_classes, bias=True)
        build.add("classifier", classifier, (value,))
    return Plan(tuple(build.steps), task.input_shape, task.num_classes, tuple(blocks), task.loss)


def _add_dense_head(
    build: Builder, value: int, maps: list[tuple[int, int]], width: int, task: Task
) -> None:
    """From the coarsest map `value` up to the stem's size, then logits of each pixel, doubled up to
    the input's. maps: the values before each stride and their channels, the finest first."""
    values = (value,)
    for level, (finer, channels) in reversed(list(enumerate(maps))):
        doubled = _add_upsample(build, f"head_up{level}", width, values, build.sizes[finer])
        lateral = Layer("conv", channels, width, relu=True, norm="affine")
        values = doubled, build.add(f"head_map{level}", lateral, (finer,))
    smooth = Layer("depthwise", width, width, 3, relu=True, norm="affine", dims=task.dims)
    value = build.add("head_smooth", smooth, values)
    classifier = Layer("pixelwise", width, task.num_classes, relu=True, bias=True)
    value = build.add("classifier", classifier, (value,))
    if task.stem_stride == 2:
        _add_upsample(build, "head_up", task.num_classes, (value,), task.sides)


def _add_upsample(
    build: Builder, name: str, channels: int, values: tuple[int, ...], size: tuple[int, int]
) -> int:
    before = build.sizes[values[0]]
    crop = tuple(2 * n - m for n, m in zip(before, size, strict=True))
    return build.add(name, Layer("upsample", channels, channels, crop=crop), values)


def _add_cell(
    build: Builder,
    name: str,
    cell: Cell,
    ops: tuple[Op, ...],
    value: int,
    in_channels: int,
    channels: int,
    stride: int,
    *,
    dims: int,
    excitation: float,
) -> int:
    """One cell. If stride or width change, the input is projected (ReLU, 1x1, BN) for whoever sums
    it; an op whose only parent is the input takes the raw input and makes the change itself."""
    raw, parents = value, _parents(cell)
    changes = stride != 1 or in_channels != channels
    if changes:
        projection = Layer("conv", in_channels, channels, stride=stride, relu=True, norm="affine")
        value = build.add(f"{name}_proj", projection, (raw,))
    values = {0: value}
    for node, op_index in enumerate(cell.ops, start=1):
        if changes and parents[node] == (0,):
            chain, inputs = op_layers(ops[op_index], in_channels, channels, stride, dims), (raw,)
        else:
            chain = op_layers(ops[op_index], channels, channels, 1, dims)
            inputs = tuple(values[parent] for parent in parents[node])
        for suffix, layer in chain:
            inputs = (build.add(f"{name}_node{node}_{suffix}", layer, inputs),)
            if excitation and suffix == "depthwise" and ops[op_index].kind in EXPANSIONS:
                names = f"{name}_node{node}"
                inputs = (_add_excitation(build, names, inputs[0], layer.out_channels, excitation),)
        values[node] = inputs[0]
    last = tuple(values[parent] for parent in parents[-1])
    if len(last) == 1:
        return last[0]
    return build.add(f"{name}_sum", Layer("identity", channels, channels), last)


@lru_cache(2**12)
def _parents(cell: Cell) -> tuple[tuple[int, ...], ...]:
    """Of every node, the input and the output among them."""
    return tuple(
        tuple(parent for parent, child in cell.edges if child == node)
        for node in range(len(cell.ops) + 2)
    )


def _add_excitation(build: Builder, name: str, value: int, channels: int, ratio: float) -> int:
    """Squeeze-and-excitation (Hu et al., CVPR 2018), its two matrices followed by batch norm."""
    inner, norm = max(round(ratio * channels), 1), dict(norm="affine")
    layers = {
        "squeeze": Layer("squeeze", channels, channels),
        "reduce": Layer("conv", channels, inner, **norm),
        "expand": Layer("conv", inner, channels, relu=True, **norm),
    }
    inputs = (value,)
    for part, layer in layers.items():
        inputs = (build.add(f"{name}_excite_{part}", layer, inputs),)
    excite = Layer("excite", channels, channels)
    return build.add(f"{name}_excite", excite, (value, *inputs))


@lru_cache(2**16)
def op_layers(op: Op, in_channels: int, channels: int, stride: int, dims: int = 2) -> Chain:
    """The layers of one op, named, in the order they run: the paper's definitions. Raises
    ValueError for a kind that is not among `CHAINS`."""
    if op.kind not in CHAINS:
        raise ValueError(f"`kind` must be an op of the open space; got {op.kind!r}.")
    return CHAINS[op.kind](in_channels, channels, op.kernel, stride, dims)


def _pool(in_channels: int, channels: int, kernel: int, stride: int, dims: int) -> Chain:
    options = dict(norm="plain", dims=dims)
    pool = Layer("avg_pool", in_channels, in_channels, kernel, stride, **options)
    match = Layer("conv", in_channels, channels, relu=True, bias=True, norm="affine")
    return ("pool", pool), *([("match", match)] if in_channels != channels else ())


def _conv(in_channels: int, channels: int, kernel: int, stride: int, dims: int) -> Chain:
    options = dict(relu=True, norm="affine", dims=dims)
    return (("conv", Layer("conv", in_channels, channels, kernel, stride, **options)),)


def _separable(
    in_channels: int, channels: int, kernel: int, stride: int, dims: int, *, dilation: int
) -> Chain:
    widths, options = (in_channels, in_channels), dict(relu=True, dims=dims)
    depth = Layer("depthwise", *widths, kernel, stride, dilation, **options)
    return ("depthwise", depth), ("pointwise", Layer("conv", in_channels, channels, norm="affine"))


def _bottleneck(
    in_channels: int, channels: int, kernel: int, stride: int, dims: int, *, expansion: float
) -> Chain:
    inner, options = int(in_channels * expansion), dict(relu=True, norm="affine")
    return (
        ("expand", Layer("conv", in_channels, inner, **options)),
        ("depthwise", Layer("depthwise", inner, inner, kernel, stride, dims=dims, **options)),
        ("project", Layer("conv", inner, channels, **options)),
    )


# Of inverted bottlenecks (mbconv) and bottlenecks (bconv).
EXPANSIONS = {"mbconv_2": 2, "mbconv_3": 3, "mbconv_6": 6, "bconv_05": 0.5, "bconv_025": 0.25}

# kind -> (in_channels, channels, kernel, stride, dims) -> the layers of such an op
CHAINS: dict[str, Callable[[int, int, int, int, int], Chain]] = {
    "avg_pool": _pool,
    "conv": _conv,
    "sep_conv": partial(_separable, dilation=1),
    "dil_conv": partial(_separable, dilation=2),
    **{kind: partial(_bottleneck, expansion=e) for kind, e in EXPANSIONS.items()},
}
