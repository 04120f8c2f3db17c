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
    zeros: list[int] = []

    def zero() -> int:
        if not zeros:
            zeros.append(build.add(f"{name}_zero", change._replace(kind="zero"), (value,)))
        return zeros[0]

    values: dict[int, Values] = {0: (value,)}
    for node in range(1, len(cell.ops) + 2):
        parents = [parent for parent, child in cell.edges if child == node]
        inputs = tuple(v for parent in parents for v in values[parent])
        if node > len(cell.ops):
            break
        op, at_input = ops[cell.ops[node - 1]], parents == [0]
        if op.kind == "zero":
            values[node] = ()
        elif op.kind == "skip_connect" and not at_input:
            values[node] = inputs
        else:
            values[node] = (add_op(f"{name}_node{node}", op, inputs or (zero(),), at_input),)
    if not inputs:
        return zero()
    if len(inputs) == 1 and inputs[0] != value:
        return inputs[0]
    width = change.out_channels
    return build.add(f"{name}_sum", Layer("identity", width, width), inputs)
