"""Walks of a plan over compiled programs: forward, backward, binary codes, directional derivatives.

Batch norms are fresh (scale 1, shift 0), as at initialisation. Weights come as a list, one dict a
step, padded by `padding.pad_plan`. A walk calls primitives through `run`: the real one,
`PROGRAMS.run`, calls compiled programs; a `recorder` only notes which programs a plan needs, so
that they can be compiled beforehand, several at a time; `dual` makes one that carries derivatives.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from nasgen.networks import linear_maps
from nasgen.networks.ops import EPSILON
from nasgen.networks.plan import Plan, Step
from nasgen.networks.primitives import PRIMITIVES
from nasgen.networks.programs import Signature, result

# Primitives that are linear in their one array: what they do to a derivative they do to a value.
_LINEAR = (
    "pool",
    "pool_backward",
    "subsample",
    "spread",
    "pixel_mean",
    "pixel_mean_backward",
    "channels",
    "shift",
    "upsample",
    "upsample_backward",
)
_FRESH_NORM = 1 / math.sqrt(1 + EPSILON)  # batch norm with running variance 1
Tensor = Any  # an array on the device or the host, a `Dual`, or, being recorded, its shape


def add_up(run, values: Sequence[Tensor], *, relu: bool = False) -> Tensor:
    """The sum of arrays of one shape, up to three in a program; with `relu` its ReLU."""
    total, left = values[0], list(values[1:])
    if relu and not left:
        return run("relu", (), total)
    while left:
        some, left = left[:2], left[2:]
        total = run("add", (1 + len(some), int(relu and not left)), total, *some)
    return total


class _Inputs:
    """The inputs of a plan's steps during a walk; sums and ReLUs that several share, made once."""

    def __init__(self, plan: Plan, run):
        self.run, self.kept = run, {}
        self.shares = Counter(map(self._key, plan.steps))

    @staticmethod
    def _key(step: Step) -> tuple[tuple[int, ...], bool]:
        """A depthwise convolution's program applies the ReLU itself."""
        return step.inputs, step.layer.relu and step.layer.kind != "depthwise"

    def of(self, step: Step, values: Sequence[Tensor]) -> tuple[Tensor, bool]:
        """A step's input, and whether its ReLU is in it. A ReLU that serves one step alone is left
        to that, so that only its argument, which others need too, has to be kept."""
        key = inputs, relu = self._key(step)
        if len(inputs) == 1 and not (relu and self.shares[key] > 1):
            return values[inputs[0]], False
        if key in self.kept:
            return self.kept[key], relu
        total = add_up(self.run, [values[i] for i in inputs], relu=relu)
        if self.shares[key] > 1:
            self.kept[key] = total
        return total, relu


class Norm(NamedTuple):
    """How walks do batch norm.

    forward: `(run, step number, x) -> (value, kept)`, `kept` being what the way back needs.
    backward: `(run, step number, value, kept, gradient by the value) -> gradient by x`.
    """

    forward: Callable[..., tuple[Tensor, Any]]
    backward: Callable[..., Tensor]


# As at initialisation: batch statistics, scale 1, shift 0. What is kept is 1 / deviation.
FRESH = Norm(
    forward=lambda run, index, x: run("norm", (), x),
    backward=lambda run, index, y, scale, g: run("norm_backward", (), y, scale, g),
)


class Forward(NamedTuple):
    """What the forward walk leaves behind, for each step: its input, value and what its norm keeps.

    active: whether the layer's ReLU is in the input already (its sign tells the same either way).
    """

    inputs: list[Tensor]
    values: list[Tensor]
    norms: list[Any]
    active: list[bool]


def walk_forward(
    plan: Plan,
    weights: Sequence[dict[str, Tensor]],
    x: Tensor,
    run,
    *,
    norm: Norm = FRESH,
    observe: Callable[[int], None] = lambda step: None,
) -> Forward:
    """Forward of `x [batch, height, width, channels]`; the last value is the logits. `observe` is
    told of each step when it has run."""
    values, inputs, norms, actives, given = [x], [], [], [], _Inputs(plan, run)
    for index, (step, w) in enumerate(zip(plan.steps, weights, strict=True)):
        layer, kept = step.layer, None
        y, active = given.of(step, values)
        inputs.append(y)
        actives.append(active)
        y = linear_maps.forward(run, layer, w, y, relu=layer.relu and not active)
        if layer.norm != "none":
            y, kept = norm.forward(run, index, y)
        values.append(y)
        norms.append(kept)
        observe(index)
    return Forward(inputs, values[1:], norms, actives)


def loss_gradient(plan: Plan, forward: Forward, targets: Tensor, run) -> Tensor:
    """Of the mean of the plan's loss, by the logits; targets as `Plan.target_shape` says, classes
    int32."""
    logits = forward.values[-1]
    shape = logits.shape[:-1] if plan.loss == "cross_entropy" else logits.shape
    return run(f"{plan.loss}_gradient", (), logits, targets.reshape(shape))


class Backward(NamedTuple):
    """kernels: gradients by each step's kernel, padded (None: nobody reads it, or not wanted).
    source: the gradient by the value where the walk ended (None: nothing flows there)."""

    kernels: list[Tensor | None]
    source: Tensor | None


def walk_backward(
    plan: Plan,
    weights: Sequence[dict[str, Tensor]],
    forward: Forward,
    seed: Tensor,
    run,
    *,
    norm: Norm = FRESH,
    first: int = 0,
    last: int | None = None,
    kernels: bool = True,
    source: bool = False,
    observe: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Backward:
    """Gradients of a function of value `last` (by default the logits) whose gradient by it is
    `seed`, back to value `first`; by that value itself only if `source`. `observe(step, active,
    gradient)` sees the input of every linear map (after ReLU) and the gradient by its output."""
    last = len(plan.steps) if last is None else last
    gradients: dict[int, list] = {last: [seed]}
    found: list[Tensor | None] = [None] * len(plan.steps)
    for index in range(last - 1, first - 1, -1):
        step, x, layer = plan.steps[index], forward.inputs[index], plan.steps[index].layer
        arrived = gradients.pop(index + 1, None)
        if not arrived:
            continue
        g = add_up(run, arrived)
        if layer.norm != "none":
            g = norm.backward(run, index, forward.values[index], forward.norms[index], g)
        if layer.kind != "identity":
            relu = layer.relu and not forward.active[index]
            if kernels and layer.has_kernel:
                found[index] = linear_maps.kernel_gradient(run, layer, x, g, relu=relu)
            if observe is not None and layer.has_kernel:
                observe(index, run("relu", (), x) if relu else x, g)
            if not source and all(value == first for value in step.inputs):
                continue
            y = run("relu", (), x) if relu and not layer.has_kernel else x
            g = linear_maps.input_gradient(run, layer, weights[index], y, g)
        if g is None:
            continue
        g = run("relu_backward", (), x, g) if layer.relu else g
        for value in step.inputs:
            gradients.setdefault(value, []).append(g)
    arrived = gradients.get(first)
    return Backward(found, add_up(run, arrived) if arrived and source else None)


class Codes(NamedTuple):
    """Agreements of binary codes `[batch, batch]`, in execution order, padded units among them: of
    every conv's and linear's output, of every ReLU's input."""

    outputs: list[Tensor]
    relus: list[Tensor]


def walk_codes(
    plan: Plan,
    weights: Sequence[dict[str, Tensor]],
    x: Tensor,
    run,
    *,
    outputs: bool = True,
    relus: bool = False,
) -> Codes:
    """Codes in evaluation mode with fresh running statistics, where batch norm is one constant
    factor."""
    values, codes, given = [x], Codes([], []), _Inputs(plan, run)
    last_read = {value: i for i, step in enumerate(plan.steps) for value in step.inputs}
    for index, (step, w) in enumerate(zip(plan.steps, weights, strict=True)):
        layer = step.layer
        y, active = given.of(step, values)
        if layer.relu and relus:
            codes.relus.append(run("codes", (), y))
        if layer.norm != "none" and w:
            w = {name: array * array.dtype.type(_FRESH_NORM) for name, array in w.items()}
        y = linear_maps.forward(run, layer, w, y, relu=layer.relu and not active)
        if layer.norm != "none" and not w:
            y = run("scale", (), y, y.dtype.type(_FRESH_NORM))
        if layer.has_kernel and outputs:
            codes.outputs.append(run("codes", (), y))
        values.append(y)
        for value in step.inputs:
            if last_read[value] == index:
                values[value] = None  # its memory is free for others
    return codes


# ---- other ways to run --------------------------------------------------------------------------


class Dual(NamedTuple):
    """An array and its derivative in some direction."""

    value: Tensor
    tangent: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def dtype(self) -> np.dtype:
        return self.value.dtype

    def reshape(self, *shape: Any) -> "Dual":
        return Dual(self.value.reshape(*shape), self.tangent.reshape(*shape))

    def __getitem__(self, index: Any) -> "Dual":
        return Dual(self.value[index], self.tangent[index])


def dual(run) -> Callable:
    """A `run` for walks over `Dual`s, by forward-mode differentiation of every primitive; other
    arrays are constants. A backward walk over duals yields Hessian-vector products."""

    def run_dual(name: str, constants: tuple[int, ...], *arrays: Tensor) -> Any:
        if not any(isinstance(array, Dual) for array in arrays):
            return run(name, constants, *arrays)
        if name == "depthwise" and constants[-1]:
            x = run_dual("relu", (), arrays[0])
            return run_dual(name, (*constants[:-1], 0), x, *arrays[1:])
        if name in _LINEAR:
            (x,) = arrays
            return Dual(run(name, constants, x.value), run(name, constants, x.tangent))
        values = [a.value if isinstance(a, Dual) else a for a in arrays]
        tangents = [
            a.tangent if isinstance(a, Dual) else np.zeros(a.shape, a.dtype)
            for a in arrays
            if np.issubdtype(a.dtype, np.floating)
        ]
        if name == "depthwise":  # bilinear: the primitive itself serves its derivative
            (x, kernel), (dx, dkernel) = values, tangents
            parts = run(name, constants, dx, kernel), run(name, constants, x, dkernel)
            return Dual(run(name, constants, x, kernel), add_up(run, parts))
        value, tangent = run(f"dual_{name}", constants, *values, *tangents)
        return jax.tree.map(Dual, value, tangent)

    return run_dual


def each(run) -> Callable:
    """A `run` for walks in which every example is alone in its batch: with batch statistics of its
    own, and a kernel gradient of its own (their first axis). A loss that is a mean stays one."""

    def run_each(name: str, constants: tuple[int, ...], *arrays: Tensor) -> Any:
        own = f"each_{name}"  # only of what couples examples is there such a form
        return run(own if own in PRIMITIVES else name, constants, *arrays)

    return run_each


def recorder(seen: dict[Signature, None]) -> Callable:
    """A `run` that notes signatures in `seen` and returns only shapes."""

    def record(name: str, constants: tuple[int, ...], *arrays: Tensor) -> Any:
        signature = Signature(name, arrays[0].shape, constants, arrays[0].dtype)
        seen[signature] = None
        value = result(signature)
        return (value[0], 0.0) if name == "rescale" else value

    return record
