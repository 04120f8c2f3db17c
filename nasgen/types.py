"""The records that cross nasgen: cells, macro architectures, architectures, tasks, budgets, costs.

Everything here is a frozen `NamedTuple` of plain Python values or arrays; shapes are said once,
here. This module knows no other module of nasgen.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

# A padded cell has this many nodes: the input, six op nodes, the output.
MAX_NODES = 8
MAX_OP_NODES = MAX_NODES - 2

# Node codes of a `CellBatch` that are not ops. Ops count from 0, so these are negative.
ABSENT, INPUT, OUTPUT = -3, -1, -2

MAX_CELLS = 19  # cells in one network, repeats counted ("fewer than 20")
CHANNEL_STEP, MAX_CHANNELS = 8, 1024
MAX_REPEATS = 4


class Op(NamedTuple):
    """One operation of a cell: a kind (`mbconv_6`) and a kernel size (`skip_connect` has 0)."""

    kind: str
    kernel: int


class Cell(NamedTuple):
    """A small DAG of ops between one input (node 0) and one output (node `len(ops) + 1`).

    ops: for node `i + 1`, the op's index in the vocabulary of the cell's space.
    edges: `(parent, child)` pairs with `parent < child`, sorted, none twice.
    """

    ops: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]


class CellRules(NamedTuple):
    """What every cell of a space obeys, beside that each node lies on a path from input to output.

    num_ops: the vocabulary. min_ops, max_ops: op nodes. min_edges, max_edges: edges in all.
    wiring: the edges of every cell, where they are all alike; only ops are left to choose then.
    """

    num_ops: int
    min_ops: int
    max_ops: int
    min_edges: int
    max_edges: int
    wiring: tuple[tuple[int, int], ...] | None = None


class CellBatch(NamedTuple):
    """Cells as arrays: node 0 is the input, node `MAX_NODES - 1` the output, absent ones between.

    nodes: op index, or one of `ABSENT`, `INPUT`, `OUTPUT`.
    adjacency: `adjacency[b, parent, child]`, strictly upper triangular.
    """

    nodes: Int[np.ndarray, "batch nodes"]
    adjacency: Bool[np.ndarray, "batch nodes nodes"]


class Stage(NamedTuple):
    """`repeats` cells of one cluster; the first carries the stride and the change of width."""

    cluster: int
    channels: int
    stride: int
    repeats: int


class MacroArchitecture(NamedTuple):
    """The sequence of stages and the width of the last convolution."""

    stages: tuple[Stage, ...]
    final_width: int


class MacroBatch(NamedTuple):
    """Macro architectures as arrays. Absent stages stand behind the others: repeats 0, all else 0.

    Fields as in `Stage` and `MacroArchitecture`; the cells of a batch stand in one `CellBatch`, row
    by row, one a stage that is there.
    """

    clusters: Int[np.ndarray, "batch stages"]
    channels: Int[np.ndarray, "batch stages"]
    strides: Int[np.ndarray, "batch stages"]
    repeats: Int[np.ndarray, "batch stages"]
    final_widths: Int[np.ndarray, " batch"]


class Architecture(NamedTuple):
    """A macro architecture with a concrete cell for each stage: enough to build the network.

    excitation: width of the squeeze-and-excitation behind each depthwise convolution of mbconv and
        bconv, in parts of its channels; 0 for none. For the final training: searches have none.
    """

    macro: MacroArchitecture
    cells: tuple[Cell, ...]
    excitation: float = 0.0


class Kind(NamedTuple):
    """A kind of prediction: its usual metric and loss, and the type of its targets."""

    metric: str
    loss: str
    targets: str


# What a network can be asked for, with the shape of its targets.
KINDS = {
    # [examples]: the class of each
    "classification": Kind("accuracy", "cross_entropy", "int32"),
    # [examples, classes]: 1 for each class that it has, else 0
    "multi_label": Kind("mean_average_precision", "binary_cross_entropy", "float32"),
    # [examples, outputs]
    "regression": Kind("mean_absolute_error", "mean_squared_error", "float32"),
    # [examples, height, width] or [examples, length]: the class of each place
    "segmentation": Kind("mean_iou", "cross_entropy", "int32"),
    # [examples, height, width, outputs] or [examples, length, outputs]
    "dense_regression": Kind("mean_absolute_error", "mean_squared_error", "float32"),
}


class Metric(NamedTuple):
    """What a trained network is judged by; `training/task_metrics` computes it.

    title: for readers. kinds: of prediction that it is for. higher: whether more is better.
    fraction: whether it is one, told in percent; else a number, of the targets' unit if it has one.
    """

    title: str
    kinds: tuple[str, ...]
    higher: bool
    fraction: bool


_NUMBERS = ("regression", "dense_regression")
METRICS = {
    # classes
    "accuracy": Metric("accuracy", ("classification",), True, True),
    "error_rate": Metric("error rate", ("classification",), False, True),
    "macro_f1": Metric("mean F1 of classes", ("classification", "segmentation"), True, True),
    "auroc": Metric(
        "area under ROC curve", ("classification", "multi_label", "segmentation"), True, True
    ),
    "mean_average_precision": Metric("mean average precision", ("multi_label",), True, True),
    "mean_iou": Metric("mean IoU of classes", ("segmentation",), True, True),
    "false_negative_rate": Metric("false negative rate", ("segmentation",), False, True),
    # numbers
    "mean_absolute_error": Metric("mean absolute error", _NUMBERS, False, False),
    "root_mean_squared_error": Metric("root mean squared error", _NUMBERS, False, False),
    "relative_l2": Metric("relative L2 error", _NUMBERS, False, False),
    "mean_absolute_error_8": Metric(
        "mean absolute error of distances up to 8", ("dense_regression",), False, False
    ),
}


class Task(NamedTuple):
    """What a network is for.

    input_shape: height, width, channels of one example; length, channels where it is a series.
    num_classes: classes, or outputs (of each place) where the kind is a regression.
    kind: one of `KINDS`, whose metric and loss hold unless the task has its own.
    metric: one of `METRICS`. loss: one of `training/losses.LOSSES`.
    stem_stride: stride of the first convolution (1, or 2 for ImageNet-sized images).
    class_names: of classes 0, 1, ..., where they have names.
    """

    name: str
    input_shape: tuple[int, int, int] | tuple[int, int]
    num_classes: int
    kind: str = "classification"
    metric: str = "accuracy"
    loss: str = "cross_entropy"
    stem_stride: int = 1
    class_names: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        return self.input_shape[-1]

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of pixels; a series is one column."""
        return sides(self.input_shape)

    @property
    def size(self) -> int:
        """Pixels of the longest side: as long as it has two, strides may halve it."""
        return max(self.sides)

    @property
    def dims(self) -> int:
        """Along how many sides windows extend: 2, or 1 for series."""
        return len(self.input_shape) - 1

    @property
    def is_series(self) -> bool:
        return self.dims == 1

    @property
    def is_dense(self) -> bool:
        """Whether there is a prediction for each pixel."""
        return self.kind in ("segmentation", "dense_regression")


def sides(input_shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of pixels of an input; a series is one column."""
    return (input_shape[0], input_shape[1] if len(input_shape) == 3 else 1)


class Budget(NamedTuple):
    """Upper bounds on a network's costs, each optional.

    params: trainable parameters. macs: multiply-adds of convolutions and linear layers for one
    example. activation_memory: bytes of every float32 activation of one example, summed.
    latency_ms: predicted milliseconds of inference for one example on the device at hand; the one
    cost that is no exact count.
    """

    params: int | None = None
    macs: int | None = None
    activation_memory: int | None = None
    latency_ms: float | None = None

    @property
    def counted(self) -> dict[str, int | None]:
        """The bounds on costs that are counted exactly, by their names in `Costs`."""
        bounds = self._asdict()
        del bounds["latency_ms"]
        return bounds


class Costs(NamedTuple):
    """Exact costs of one network (ints) or of many (int64 arrays `[batch]`).

    layers: convolutions and linear layers. depth: the most of them on one path. Other units as in
    `Budget`.
    """

    params: int | np.ndarray
    macs: int | np.ndarray
    layers: int | np.ndarray
    depth: int | np.ndarray
    activation_memory: int | np.ndarray
