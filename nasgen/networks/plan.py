"""A network as a straight-line program of layers: the one description of every network.

A plan lists steps in execution order. Step `i` sums the values it names, applies its layer and
yields value `i + 1`; value 0 is the network's input. The Linen module, the exact costs, the
zero-cost proxies' compiled programs and the exported source all read the same plan, so they
cannot disagree. `plans` writes it for the architectures of each space.
"""

from typing import NamedTuple

from nasgen.networks.ops import out_size


class Layer(NamedTuple):
    """One layer: optional ReLU, a linear map or pooling, optional batch norm. Hashable: it is a
    signature.

    kind: with a kernel, `conv`, `depthwise` or `linear` (after a global average pool); pooling,
        `avg_pool` or `max_pool` (kernel 2: each window starts at its own pixel); without
        arithmetic, `identity`, `zero` (nothing flows through), `slice` (the first `out_channels`
        channels), `place` (its channels from number `offset` on among `out_channels`, the others
        zero; a sum of such is a concatenation), `shift` (one pixel up and left, zeros enter).
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
    """All steps; the last one yields the logits.

    blocks: the values that cells (and other blocks) yield, in order, the stem's first.
    features: the value whose average over pixels the classifier reads.
    """

    steps: tuple[Step, ...]
    input_shape: tuple[int, int, int]
    num_classes: int
    blocks: tuple[int, ...]

    @property
    def features(self) -> int:
        return self.steps[-1].inputs[0]


class Builder(NamedTuple):
    """A plan in the making: the steps so far, and the size in pixels of every value."""

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


def builder(input_shape: tuple[int, int, int]) -> Builder:
    """An empty plan: only the network's input, value 0."""
    return Builder([], {0: input_shape[:2]})


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
