"""How a cell with an op on each edge of a fixed graph becomes steps; see `spaces.edge_cells`."""

from collections.abc import Callable

from nasgen.networks.plan import Builder, Layer
from nasgen.types import Cell, Op

Values = tuple[int, ...]  # numbers of values whose sum is meant; none of them: zero


def add_cell(
    build: Builder,
    name: str,
    cell: Cell,
    ops: tuple[Op, ...],
    add_op: Callable[[str, Op, Values, bool], int],
    value: int,
    change: Layer,
) -> int:
    """Appends the steps of one cell that reads `value`; returns the number of the cell's value.

    `add_op(name, op, inputs, reads_input)` appends those of a convolution or pooling and returns
    its value; it also gets a `skip_connect` that reads the cell's input, as that may change size or
    width. Other skips only name what they sum, and a `zero` contributes nothing. Where nothing is
    left to sum, a `zero` step stands in, so ops without input, and ops that nobody reads, stay.
    change: a layer from the cell's input to its output; its kind does not matter.
    """
    values: dict[int, Values] = {0: (value,)}
    zero: Values = ()  # the step that stands in, once there is one
    for node, op_index in enumerate(cell.ops, start=1):
        parents, inputs = _sources(cell, node, values)
        op, at_input = ops[op_index], parents == [0]
        if op.kind == "zero":
            values[node] = ()
        elif op.kind == "skip_connect" and not at_input:
            values[node] = inputs
        else:
            if not inputs:
                inputs = zero = zero or _add_zero(build, name, change, value)
            values[node] = (add_op(f"{name}_node{node}", op, inputs, at_input),)
    _, inputs = _sources(cell, len(cell.ops) + 1, values)
    (first, *others) = inputs or zero or _add_zero(build, name, change, value)
    if not others and first != value:
        return first
    width = change.out_channels
    return build.add(f"{name}_sum", Layer("identity", width, width), (first, *others))


def _sources(cell: Cell, node: int, values: dict[int, Values]) -> tuple[list[int], Values]:
    """The parents of a node, and all that they sum."""
    parents = [parent for parent, child in cell.edges if child == node]
    return parents, tuple(v for parent in parents for v in values[parent])


def _add_zero(build: Builder, name: str, change: Layer, value: int) -> Values:
    return (build.add(f"{name}_zero", change._replace(kind="zero"), (value,)),)
