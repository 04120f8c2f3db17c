"""The passes that proxies share, over compiled programs: each field of `Passes`, computed once.

A pass has two halves: a walk, which runs programs and leaves arrays on the device, and its finish
on the host (`finish`), where widths are cropped to the true ones. `signatures` lets the walks run
over shapes alone, to learn which programs they need.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Num

from nasgen.networks import flows, linear_maps, padding, walks
from nasgen.networks.padding import Weights
from nasgen.networks.plan import Plan
from nasgen.networks.programs import PROGRAMS, Programs, Signature
from nasgen.proxies.finish import finish
from nasgen.proxies.proxy import Passes

ZEN_STEP = 0.01  # how far noise moves the images of `zen`
ALONE = 16  # examples at once whose gradients are kept apart, at most
NTK_EXAMPLES = 8  # of the batch, whose gradients the kernel compares


class Draws(NamedTuple):
    """What the passes need at random: for `zen`, weights, images and noise; for `blocks`,
    signs at every block but the first."""

    weights: list[Weights]
    images: np.ndarray
    noise: np.ndarray
    signs: list[np.ndarray]


class _Walks:
    """One network's walks; what several passes read is walked once.

    alike: over shapes alone, where one example's walk stands for those of all."""

    def __init__(
        self, plan: Plan, weights, images, targets, draws: Draws, needs, run, *, alike: bool
    ):
        self.plan, self.weights, self.images, self.targets = plan, weights, images, targets
        self.draws, self.needs, self.run, self.alike = draws, needs, run, alike

    def one_by_one(self, number: int) -> range:
        """The examples, of the first `number`, that have walks of their own."""
        return range(1 if self.alike else number)

    @cached_property
    def forward(self) -> walks.Forward:
        return walks.walk_forward(self.plan, self.weights, self.images, self.run)

    @cached_property
    def backward(self) -> tuple[list, list]:
        """Gradients by kernels and, where asked for, products, in the order of the steps."""
        products = [None] * len(self.plan.steps)

        def observe(index: int, active, g) -> None:
            layer, w = self.plan.steps[index].layer, self.weights[index]
            output = linear_maps.forward(self.run, layer, w, active)
            products[index] = self.run("products", (), output, g)

        back = walks.walk_backward(
            self.plan,
            self.weights,
            self.forward,
            walks.loss_gradient(self.plan, self.forward, self.targets, self.run),
            self.run,
            observe=observe if "products" in self.needs else None,
        )
        return back.kernels, products

    def gradients_of(self, rows: slice, run=None) -> list:
        """Gradients of the mean loss of some examples alone."""
        run = self.run if run is None else run
        forward = walks.walk_forward(self.plan, self.weights, self.images[rows], run)
        seed = walks.loss_gradient(self.plan, forward, self.targets[rows], run)
        return walks.walk_backward(self.plan, self.weights, forward, seed, run).kernels

    @cached_property
    def codes(self) -> walks.Codes:
        return walks.walk_codes(
            self.plan,
            self.weights,
            self.images,
            self.run,
            outputs="agreements" in self.needs,
            relus="fresh_relu_agreements" in self.needs,
        )

    @cached_property
    def flows(self) -> list:
        dtype = self.images.dtype
        return flows.walk_flows(self.plan, self.weights, self.run, dtype=dtype)


# ---- the walk of each pass ----------------------------------------------------------------------


def _half_gradients(w: _Walks) -> tuple[list, list]:
    half = len(w.images) // 2
    return w.gradients_of(slice(0, half)), w.gradients_of(slice(half, 2 * half))


def _curvature(w: _Walks) -> list:
    """Forward and backward over kernels that move along the loss's gradient."""
    moving = [
        weights | {"kernel": walks.Dual(weights["kernel"], _as_kernel(step.layer, weights, g))}
        if g is not None
        else weights
        for step, weights, g in zip(w.plan.steps, w.weights, w.backward[0], strict=True)
    ]
    run = walks.dual(w.run)
    forward = walks.walk_forward(w.plan, moving, w.images, run)
    seed = walks.loss_gradient(w.plan, forward, w.targets, run)
    kernels = walks.walk_backward(w.plan, moving, forward, seed, run).kernels
    return [None if dual is None else dual.tangent for dual in kernels]


def _as_kernel(layer, weights: Weights, dw) -> np.ndarray:
    """A padded gradient in its padded kernel's shape, on the host."""
    shape, dtype = weights["kernel"].shape, weights["kernel"].dtype
    if isinstance(dw, jax.ShapeDtypeStruct):
        return np.zeros(shape, dtype)
    dw = np.asarray(dw)
    return (dw[: math.prod(layer.window)] if layer.kind == "depthwise" else dw).reshape(shape)


def _jacobian(w: _Walks) -> Any:
    logits = w.forward.values[-1]
    seed = np.ones(logits.shape, logits.dtype)
    options = dict(kernels=False, source=True)
    source = walks.walk_backward(w.plan, w.weights, w.forward, seed, w.run, **options).source
    return np.zeros_like(w.images) if source is None else source  # None: cut off by zero ops


def _sign_sums(w: _Walks) -> list:
    """Gradients of every example, each alone in its batch, some at a time; on the host."""
    some = max(n for n in range(1, ALONE + 1) if len(w.images) % n == 0)
    run = walks.each(w.run)
    starts = [some * i for i in w.one_by_one(len(w.images) // some)]
    return [jax.device_get(w.gradients_of(slice(i, i + some), run)) for i in starts]


def _ntk(w: _Walks) -> list:
    few = w.images[:NTK_EXAMPLES]
    forward = walks.walk_forward(w.plan, w.weights, few, w.run)
    logits, kernels = forward.values[-1], []
    for example in w.one_by_one(len(few)):
        seed = np.zeros(logits.shape, logits.dtype)
        seed[example] = 1
        kernels.append(walks.walk_backward(w.plan, w.weights, forward, seed, w.run).kernels)
    return kernels


def _of_relu_inputs(w: _Walks, primitive: str) -> list:
    """A primitive of the input of every ReLU, with batch statistics."""
    rows = zip(w.plan.steps, w.forward.inputs, strict=True)
    return [w.run(primitive, (), x) for step, x in rows if step.layer.relu]


def _zen(w: _Walks) -> tuple[Any, list, list]:
    features = []
    noise = w.draws.images + w.draws.images.dtype.type(ZEN_STEP) * w.draws.noise
    scales = []
    for images in (w.draws.images, noise):
        forward = walks.walk_forward(w.plan, w.draws.weights, images, w.run)
        value = forward.inputs[-1]
        features.append(w.run("relu", (), value) if w.plan.steps[-1].layer.relu else value)
        scales.append(forward.norms)
    return w.run("distances", (), *features), *scales


def _blocks(w: _Walks) -> tuple[list, list]:
    plan, values = w.plan, w.forward.values
    covariances = [w.run("covariance", (), values[block - 1]) for block in plan.blocks]
    transfers, options = [], dict(kernels=False, source=True)
    for before, after, signs in zip(plan.blocks, plan.blocks[1:], w.draws.signs, strict=False):
        span = dict(first=before, last=after)
        g = walks.walk_backward(plan, w.weights, w.forward, signs, w.run, **span, **options).source
        if g is None:
            g = np.zeros(values[before - 1].shape, signs.dtype)
        stride = -(-g.shape[1] // signs.shape[1])
        transfers.append(w.run("transfer", (stride, signs.shape[-1]), g, signs))
    return covariances, transfers


_WALKS: dict[str, Callable[[_Walks], Any]] = {
    "gradients": lambda w: w.backward[0],
    "products": lambda w: w.backward[1],
    "half_gradients": _half_gradients,
    "curvature": _curvature,
    "jacobian": _jacobian,
    "sign_sums": _sign_sums,
    "ntk": _ntk,
    "agreements": lambda w: w.codes.outputs,
    "relu_agreements": lambda w: _of_relu_inputs(w, "codes"),
    "fresh_relu_agreements": lambda w: w.codes.relus,
    "patterns": lambda w: _of_relu_inputs(w, "patterns"),
    "synflow": lambda w: w.flows,
    "synflow_snr": lambda w: w.flows,
    "zen": _zen,
    "blocks": _blocks,
}
PASSES = tuple(_WALKS)
_CODES = ("agreements", "fresh_relu_agreements")


# ---- all together -------------------------------------------------------------------------------


def draw(rng: np.random.Generator, plan: Plan, batch: int, needs: Sequence[str]) -> Draws:
    """What the passes in `needs` take at random for one network, at true widths: the same for a
    pass whichever others are in `needs`, so what `zen` takes is drawn for `blocks`, too."""
    weights, signs = [], []
    images = noise = np.zeros((batch, *plan.input_shape), np.float32)
    if "zen" in needs or "blocks" in needs:
        weights = [
            {
                name: rng.standard_normal(shape, np.float32) * np.float32(name == "kernel")
                for name, shape in padding.kernel_shapes(step.layer).items()
            }
            for step in plan.steps
        ]
        images, noise = (rng.standard_normal(images.shape, np.float32) for _ in range(2))
    if "blocks" in needs:
        for block in plan.blocks[1:]:
            step = plan.steps[block - 1]
            shape = (batch, *step.out_size, step.layer.out_channels)
            signs.append(rng.choice(np.array([-1, 1], np.float32), shape))
    return Draws(weights, images, noise, signs)


class _Zeros(np.random.Generator):
    """Draws zeros at once, for walks over shapes alone."""

    def standard_normal(self, size, dtype):
        return np.zeros(size, dtype)

    def choice(self, values, size):
        return np.zeros(size, values.dtype)


def _padded(plan: Plan, draws: Draws, dtype) -> Draws:
    weights = padding.pad_plan(plan, draws.weights, dtype=dtype) if draws.weights else []
    pad = lambda array: padding.pad_images(array, dtype=dtype)  # noqa: E731
    return Draws(weights, pad(draws.images), pad(draws.noise), [pad(s) for s in draws.signs])


def run_passes(
    plan: Plan,
    weights: Sequence[Weights],
    images: Float[np.ndarray, "batch *pixels channels"],
    targets: Num[np.ndarray, "batch *target"],
    needs: Sequence[str],
    draws: Draws | None = None,
    *,
    dtype=np.float32,
    programs: Programs = PROGRAMS,
) -> Passes:
    """The passes in `needs` (of `PASSES`) over one network with the given weights, at true widths.

    draws: for `zen` and `blocks`, by `draw`. dtype: float32, or float64 for passes exact to
    rounding; then call inside `jax.enable_x64(True)`. programs: of the device to run on.
    """
    draws = draw(np.random.default_rng(0), plan, len(images), needs) if draws is None else draws
    padded, draws = padding.pad_plan(plan, weights, dtype=dtype), _padded(plan, draws, dtype)

    def walk(some: Sequence[str]) -> dict[str, Any]:
        with jax.enable_x64(dtype == np.float64):  # which threads do not inherit
            return _walk(plan, padded, images, targets, draws, some, programs.run)

    codes = [name for name in needs if name in _CODES]
    if 0 < len(codes) < len(needs):
        # They share nothing with the others, so one may fill the gaps that the other leaves.
        with ThreadPoolExecutor(1) as pool:
            beside = pool.submit(walk, codes)
            walked = walk([name for name in needs if name not in codes]) | beside.result()
    else:
        walked = walk(needs)
    return finish(plan, weights, targets, jax.device_get(walked))


def _walk(
    plan: Plan, padded, images, targets, draws: Draws, needs, run, *, alike: bool = False
) -> dict[str, Any]:
    dtype = padded[0]["kernel"].dtype
    images = padding.pad_images(np.asarray(images), dtype=dtype)
    targets = np.asarray(targets, np.int32 if plan.loss == "cross_entropy" else dtype)
    one = _Walks(plan, padded, images, targets, draws, frozenset(needs), run, alike=alike)
    return {name: _WALKS[name](one) for name in needs}


def signatures(
    plan: Plan, needs: Sequence[str], batch: int, *, dtype=np.float32
) -> list[Signature]:
    """The programs that the passes in `needs` over a plan will run."""
    seen: dict[Signature, None] = {}
    weights = [
        {n: np.zeros(s, np.float32) for n, s in padding.kernel_shapes(step.layer).items()}
        for step in plan.steps
    ]
    images = np.zeros((batch, *plan.input_shape), np.float32)
    draws = _padded(plan, draw(_Zeros(np.random.PCG64(0)), plan, batch, needs), dtype)
    padded = padding.pad_plan(plan, weights, dtype=dtype)
    run = walks.recorder(seen)
    targets = np.zeros((batch, *plan.target_shape), np.float32)
    _walk(plan, padded, images, targets, draws, needs, run, alike=True)
    return list(seen)


def compile_for(
    plans: Sequence[Plan],
    needs: Sequence[str],
    batch: int,
    *,
    dtype=np.float32,
    programs: Programs = PROGRAMS,
    threads: int | None = None,
) -> int:
    """Compiles every program that the passes over these plans need; returns how many were new."""
    asked = (s for p in plans for s in signatures(p, needs, batch, dtype=dtype))
    return programs.compile(asked, threads=threads)
