"""Networks made by hand, written in the space `open`: what generated ones are measured against.

`resnet20` and `mobilenet_v2` as near to the papers as the space's rules allow, and both families
scaled to any budget. In `open` every map is ReLU, convolution, norm, and a network ends in norm,
ReLU, a 1x1 convolution and its norm before the average over pixels. Each function says what else
that makes different.
"""

import difflib
from collections.abc import Sequence

import numpy as np

from nasgen.networks import fitting
from nasgen.spaces import graphs, macro
from nasgen.spaces.open import OPS
from nasgen.types import Architecture, Budget, Cell, MacroArchitecture, Op, Stage, Task

TASK = Task("cifar10", (32, 32, 3), 10)  # what both papers' networks are compared on here
ORIGIN = "A network made by hand, in the search space of nasgen and trained by it."


def _cell(kind: str, number: int) -> Cell:
    """So many ops of a kind with kernel 3 in a row, beside their input."""
    chain = [(node, node + 1) for node in range(number + 1)]
    return Cell((OPS.index(Op(kind, 3)),) * number, tuple(sorted([*chain, (0, number + 1)])))


BASIC, INVERTED, SEPARABLE = _cell("conv", 2), _cell("mbconv_6", 1), _cell("sep_conv", 1)


def resnet(
    widths: Sequence[int] = (16, 32, 64), final_width: int = 64, *, blocks: int = 3
) -> Architecture:
    """He et al., Deep Residual Learning (CVPR 2016), section 4.2: so many basic blocks (1 to 4) of
    each width, halved between widths; `6 * blocks + 2` layers, 20 by default.

    Different: the shortcut takes the sum as it is, theirs after its ReLU. Where the width changes
    it is ReLU, 1x1 convolution, norm; theirs pads with zeros (option A). Theirs averages the last
    sum after its ReLU, without a 1x1 convolution. So `resnet20` has 276,826 params for their
    269,722, and 41.1 M MACs for their 40.6 M.
    """
    strides = [1, *[2] * (len(widths) - 1)]
    stages = [Stage(0, w, stride, blocks) for w, stride in zip(widths, strides, strict=True)]
    return Architecture(MacroArchitecture(tuple(stages), final_width), (BASIC,) * len(widths))


def mobilenet_v2(
    widths: Sequence[int] = (16, 24, 32, 64, 96, 160, 320), final_width: int = 1024
) -> Architecture:
    """Sandler et al., MobileNetV2 (CVPR 2018), table 2, for images of 32 pixels: strides as there,
    but for the stem's and the second stage's, which are 1.

    Different: ReLU for ReLU6, and one before each expansion, so no bottleneck is linear. Where
    width or size change there is a shortcut of ReLU, 1x1 convolution, norm; theirs has none. The
    stem is as wide as the first stage (theirs 32 for 16), whose depthwise convolution has no norm
    of its own. The last width is 1,024, the most that the space has, for their 1,280, with no ReLU
    behind it. So it has 2,228,698 params and 88.0 M MACs.
    """
    table = zip(widths, (1, 1, 2, 2, 1, 2, 1), (1, 2, 3, 4, 3, 3, 1), strict=True)
    stages = tuple(Stage(0, *row) for row in table)
    cells = (SEPARABLE, *[INVERTED] * (len(widths) - 1))
    return Architecture(MacroArchitecture(stages, final_width), cells)


FAMILIES = {"resnet": resnet(), "mobilenet_v2": mobilenet_v2()}
MODELS = {"resnet20": FAMILIES["resnet"], "mobilenet_v2": FAMILIES["mobilenet_v2"]}


def check_bounds(budget: Budget) -> None:
    """Raises ValueError for a budget that bounds no counted cost, or latency."""
    if budget.latency_ms is not None or not any(budget.counted.values()):
        raise ValueError(
            f"`budget` must bound params, MACs or activation memory, and not latency; got {budget}."
        )


def scaled_to(family: str, budget: Budget, task: Task) -> Architecture:
    """The largest network of a family within a budget: widths in proportion, then one by one, in
    steps of 8, as those of generated networks are fitted (`networks/fitting`); fewer blocks only
    where the narrowest of all is too dear, more only where widths leave a tenth unused.

    Raises ValueError for an unknown family, a budget that bounds no counted cost, or latency, and
    for one that the smallest of the family exceeds.
    """
    if family not in FAMILIES:
        near = difflib.get_close_matches(family, FAMILIES, n=1, cutoff=0)[0]
        raise ValueError(
            f"`family` must be one of {sorted(FAMILIES)}; got {family!r}, the nearest is {near!r}."
        )
    return fitted_to(FAMILIES[family], budget, task, name=family)


def fitted_to(start: Architecture, budget: Budget, task: Task, *, name: str) -> Architecture:
    """The same of any architecture. name: for the error."""
    check_bounds(budget)
    bounds = budget.counted.values()
    limits = np.array([[np.inf if bound is None else bound for bound in bounds]], np.float64)
    cells = graphs.pack(start.cells)
    macros, used = fitting.fit(macro.pack([start.macro]), cells, OPS, [task], limits)
    if used[0] > 1:
        raise ValueError(f"`budget` must allow the smallest {name} for {task.name}; got {budget}.")
    return Architecture(macro.unpack(macros)[0], start.cells)
