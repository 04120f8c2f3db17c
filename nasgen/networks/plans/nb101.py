"""`nb101`: the networks of NAS-Bench-101 (Ying et al., ICML 2019, section 2).

A 3x3 stem; three stacks of three cells; before the second and third stack, max pooling halves the
resolution and the width doubles; global average, classifier. Every convolution is followed by batch
norm and ReLU. Channels inside a cell are those of the authors' code, see `node_channels`.
"""

from nasgen.networks.plan import Builder, Layer, Plan, builder
from nasgen.spaces.nb101 import OPS
from nasgen.types import Cell, Task


def make_plan(
    cell: Cell, task: Task, *, channels: int = 128, stacks: int = 3, cells: int = 3
) -> Plan:
    """The network of `cell` for `task`. channels: of the stem and the first stack. cells: in each
    stack. The nodes that feed a cell's output share the channels: at least one each."""
    build = builder(task.input_shape)
    value = _add_conv(build, "stem", (0,), task.input_shape[2], channels, kernel=3)
    blocks, before = [value], channels
    for stack in range(stacks):
        if stack > 0:
            pool = Layer("max_pool", channels, channels, 2, 2)
            value = build.add(f"pool{stack}", pool, (value,))
            channels *= 2
        for repeat in range(cells):
            value = _add_cell(build, f"stage{stack}_cell{repeat}", cell, value, before, channels)
            before = channels
            blocks.append(value)
    classifier = Layer("linear", channels, task.num_classes, bias=True)
    build.add("classifier", classifier, (value,))
    return Plan(tuple(build.steps), task.input_shape, task.num_classes, tuple(blocks), task.loss)


def node_channels(cell: Cell, channels: int) -> list[int]:
    """Output channels of each op node, in order.

    The nodes that feed the output share its channels, for they are concatenated; the first ones
    take what does not divide. Every other node is as wide as the widest node that reads it.
    """
    num, output = len(cell.ops), len(cell.ops) + 1
    feeding = [parent for parent, child in cell.edges if child == output and parent > 0]
    widths = [0] * output
    for rank, node in enumerate(feeding):
        share, rest = divmod(channels, len(feeding))
        widths[node] = share + (rank < rest)
    for node in range(num - 1, 0, -1):
        if node not in feeding:
            readers = [child for parent, child in cell.edges if parent == node]
            widths[node] = max(widths[child] for child in readers)
    return widths[1:]


def _add_cell(
    build: Builder, name: str, cell: Cell, value: int, in_channels: int, channels: int
) -> int:
    """One cell. A node sums its parents, cut to its own width; the cell's input is projected for
    each node that reads it, and for the output, to which it is added."""
    widths = [in_channels, *node_channels(cell, channels)]
    output, values = len(cell.ops) + 1, [value]
    for node, op_index in enumerate(cell.ops, start=1):
        prefix, width, op = f"{name}_node{node}", widths[node], OPS[op_index]
        parents = [parent for parent, child in cell.edges if child == node and parent > 0]
        inputs = [
            _cut(build, f"{prefix}_cut{parent}", values[parent], widths[parent], width)
            for parent in parents
        ]
        if (0, node) in cell.edges:
            inputs.append(_add_conv(build, f"{prefix}_proj", (value,), in_channels, width))
        if op.kind == "max_pool":
            pool = Layer("max_pool", width, width, op.kernel)
            values.append(build.add(f"{prefix}_pool", pool, tuple(inputs)))
        else:
            conv = _add_conv(build, f"{prefix}_conv", tuple(inputs), width, width, kernel=op.kernel)
            values.append(conv)
    feeding = [parent for parent, child in cell.edges if child == output and parent > 0]
    parts = _side_by_side(build, name, feeding, values, widths, channels)
    if (0, output) in cell.edges:
        parts.append(_add_conv(build, f"{name}_proj", (value,), in_channels, channels))
    if len(parts) == 1:
        return parts[0]
    return build.add(f"{name}_sum", Layer("identity", channels, channels), tuple(parts))


def _side_by_side(build, name: str, nodes, values, widths, channels: int) -> list[int]:
    """Values of full width whose sum is the concatenation of the nodes' values."""
    if len(nodes) <= 1:
        return [values[node] for node in nodes]
    parts, offset = [], 0
    for node in nodes:
        layer = Layer("place", widths[node], channels, offset=offset)
        parts.append(build.add(f"{name}_node{node}_place", layer, (values[node],)))
        offset += widths[node]
    return parts


def _cut(build: Builder, name: str, value: int, channels: int, width: int) -> int:
    """The first `width` channels of a value."""
    if channels == width:
        return value
    return build.add(name, Layer("slice", channels, width), (value,))


def _add_conv(
    build: Builder,
    name: str,
    inputs: tuple[int, ...],
    in_channels: int,
    channels: int,
    *,
    kernel: int = 1,
) -> int:
    """A convolution, batch norm, ReLU."""
    value = build.add(name, Layer("conv", in_channels, channels, kernel, norm="affine"), inputs)
    return build.add(f"{name}_relu", Layer("identity", channels, channels, relu=True), (value,))
