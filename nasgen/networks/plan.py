"""A network as a straight-line program of layers: the one description of every network.

A plan lists steps in execution order. Step `i` sums the values it names, applies its layer and
yields value `i + 1`; value 0 is the network's input. The Linen module, the exact costs, the
zero-cost proxies' compiled programs and the exported source all read the same plan, so they
cannot disagree. `plans` writes it for the architectures of each space.
"""

import math
from functools import lru_cache
from typing import NamedTuple

from nasgen.networks.ops import out_size
from nasgen.types import sides


class Layer(NamedTuple):
    """One layer: optional ReLU, a linear map or pooling, optional batch norm. Hashable: it is a
    signature.

    kind: with a kernel, `conv`, `depthwise`, `linear` (after a global average pool) or `pixelwise`
        (of each pixel, `conv` that yields logits); pooling, `avg_pool` or `max_pool` (kernel 2:
        each window starts at its own pixel); without arithmetic, `identity`, `zero` (nothing flows
        through), `slice` (the first `out_channels` channels), `place` (its channels from number
        `offset` on among `out_channels`, the others zero; a sum of such is a concatenation),
        `shift` (one pixel up and left, zeros enter), `upsample` (each pixel becomes four, of which
        the last `crop` rows and columns are cut off), `squeeze` (the average over pixels, a single
        one), `excite` (the first value times the sigmoid of the second, channel by channel).
    dims: 1 where windows extend along rows alone, for series.
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
    offset: int = 0
    dims: int = 2
    crop: tuple[int, int] = (0, 0)

    @property
    def has_kernel(self) -> bool:
        """Whether the layer is a convolution or linear: what proxies and costs count."""
        return self.kind in ("conv", "depthwise", "linear", "pixelwise")

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of the kernel."""
        return self.kernel, self.kernel if self.dims == 2 else 1


class Step(NamedTuple):
    """A layer at work: its name in the network, the values it sums (`excite`: multiplies), its
    sizes in pixels."""

    name: str
    layer: Layer
    inputs: tuple[int, ...]
    in_size: tuple[int, int]
    out_size: tuple[int, int]


class Plan(NamedTuple):
    """All steps; the last one yields the logits.

    input_shape: height, width, channels of one example; length, channels where it is a series,
        which walks and layers see as one column of pixels.
    blocks: the values that cells (and other blocks) yield, in order, the stem's first.
    features: the value that the last layer reads.
    loss: that the logits are for, as in `types.KINDS`.
    """

    steps: tuple[Step, ...]
    input_shape: tuple[int, ...]
    num_classes: int
    blocks: tuple[int, ...]
    loss: str = "cross_entropy"

    @property
    def features(self) -> int:
        return self.steps[-1].inputs[0]

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Of one example's target: a class, or a number for each output; of each pixel where there
        are logits of each."""
        pixels = () if self.steps[-1].layer.kind == "linear" else self.input_shape[:-1]
        return pixels if self.loss == "cross_entropy" else (*pixels, self.num_classes)


class Builder(NamedTuple):
    """A plan in the making: the steps so far, and the size in pixels of every value."""

    steps: list[Step]
    sizes: dict[int, tuple[int, int]]

    def add(self, name: str, layer: Layer, inputs: tuple[int, ...]) -> int:
        """Appends a step; returns the number of its value."""
        size = self.sizes[inputs[0]]
        after = size_after(layer, size)
        self.steps.append(Step(name, layer, inputs, size, after))
        self.sizes[len(self.steps)] = after
        return len(self.steps)


def builder(input_shape: tuple[int, ...]) -> Builder:
    """An empty plan: only the network's input, value 0."""
    return Builder([], {0: sides(input_shape)})


def size_after(layer: Layer, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of what the layer makes of an input of that size."""
    if layer.kind in ("linear", "squeeze"):
        return 1, 1
    if layer.kind == "upsample":
        return tuple(2 * n - cut for n, cut in zip(size, layer.crop, strict=True))
    return tuple(out_size(n, layer.stride) for n in size)


def weight_shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    """The trainable arrays of a layer and their shapes."""
    i, o, window = layer.in_channels, layer.out_channels, layer.window
    kernels = {"conv": (*window, i, o), "depthwise": (*window, i)}
    shapes = {"kernel": kernels.get(layer.kind, (i, o))} if layer.has_kernel else {}
    if layer.bias:
        shapes["bias"] = (o,)
    if layer.norm == "affine":
        shapes |= {"scale": (o,), "shift": (o,)}
    return shapes


@lru_cache(2**16)
def kernel_size(layer: Layer) -> int:
    """Numbers in the kernel of a layer that has one."""
    return math.prod(weight_shapes(layer)["kernel"])


@lru_cache(2**16)
def num_weights(layer: Layer) -> int:
    """Numbers in all trainable arrays of a layer."""
    return sum(map(math.prod, weight_shapes(layer).values()))
