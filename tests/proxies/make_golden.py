"""Makes `golden.npz`: every pass and every proxy of three small networks, written out in NumPy.

    python -m tests.proxies.make_golden

(in the repository's root; half a minute). The networks run and are differentiated by
`numpy_networks`, which shares no code with nasgen; the Hessian times the gradient is a central
difference of such gradients; `numpy_scores` has the proxies' definitions. Random numbers are
stored, not drawn again. What is zero in theory, rounding below 1e-13, is stored as zero.
"""

import json
import math
from pathlib import Path

import numpy as np

from nasgen.networks.plan import Layer, Plan, builder
from nasgen.networks.plans.open import make_plan
from nasgen.spaces import SPACES
from nasgen.types import Architecture, Cell, MacroArchitecture, Op, Stage, Task
from tests.proxies.numpy_networks import (
    STEP,
    Trace,
    by_kernels,
    by_value,
    cross_entropy,
    logits,
    run,
)
from tests.proxies.numpy_scores import log, log_ranks, make_scores, signal_to_noise

FILE = Path(__file__).with_name("golden.npz")
CLASSES, LABELS = 3, np.array([0, 1, 2, 0, 1, 2, 0, 1])


# ---- three networks ------------------------------------------------------------------------------


def open_plan() -> Plan:
    """In the paper's space. What its last batch norm centres makes some scores degenerate."""
    ops = SPACES["open"].ops
    code = lambda kind, kernel: ops.index(Op(kind, kernel))  # noqa: E731
    first = Cell(
        (code("conv", 3), code("mbconv_2", 3), code("avg_pool", 3)),
        ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (0, 4)),
    )
    second = Cell(
        (code("dil_conv", 3), code("avg_pool", 5), code("bconv_05", 5), code("sep_conv", 3)),
        ((0, 1), (0, 2), (0, 4), (1, 3), (2, 3), (3, 5), (4, 5)),
    )
    macro = MacroArchitecture((Stage(0, 4, 1, 1), Stage(1, 6, 2, 1)), 5)
    task = Task("golden", (6, 6, 2), CLASSES)
    return make_plan(Architecture(macro, (first, second)), ops, task)


def residual_plan() -> Plan:
    """Like NAS-Bench-201: cells of ReLU-conv-BN, pools and skips, a residual reduction between."""
    b = builder((8, 8, 3))
    value = b.add("stem", Layer("conv", 3, 4, 3, norm="affine"), (0,))
    blocks = [value]
    conv = lambda i, o, k, s=1: Layer("conv", i, o, k, s, relu=True, norm="affine")  # noqa: E731
    node = b.add("cell0_conv3", conv(4, 4, 3), (value,))
    pool = b.add("cell0_pool", Layer("avg_pool", 4, 4, 3), (value,))
    zero = b.add("cell0_zero", Layer("zero", 4, 4), (node,))
    other = b.add("cell0_conv1", conv(4, 4, 1), (node, pool))
    value = b.add("cell0_sum", Layer("identity", 4, 4), (value, other, zero))
    blocks.append(value)
    half = b.add("reduce_a", conv(4, 6, 3, 2), (value,))
    half = b.add("reduce_b", conv(6, 6, 3), (half,))
    short = b.add("reduce_pool", Layer("avg_pool", 4, 4, 2, 2), (value,))
    short = b.add("reduce_conv", Layer("conv", 4, 6), (short,))
    value = b.add("reduce_sum", Layer("identity", 6, 6), (half, short))
    blocks.append(value)
    node = b.add("cell1_conv3", conv(6, 6, 3), (value,))
    value = b.add("cell1_sum", Layer("identity", 6, 6), (value, node))
    blocks.append(value)
    value = b.add("head", Layer("identity", 6, 6, norm="affine"), (value,))
    b.add("classifier", Layer("linear", 6, CLASSES, relu=True, bias=True), (value,))
    return Plan(tuple(b.steps), (8, 8, 3), CLASSES, tuple(blocks))


def mixed_plan() -> Plan:
    """Post-activation, max pooling, concatenation, shifted halves, a large strided depthwise."""
    b = builder((6, 6, 3))

    def post(name: str, layer: Layer, inputs: tuple[int, ...]) -> int:
        value = b.add(name, layer._replace(norm="affine"), inputs)
        out = layer.out_channels
        return b.add(f"{name}_relu", Layer("identity", out, out, relu=True), (value,))

    stem = post("stem", Layer("conv", 3, 5, 3, bias=True), (0,))
    left = b.add("left", Layer("slice", 5, 3), (stem,))
    left = post("left_conv", Layer("conv", 3, 3, 3), (left,))
    right = b.add("right", Layer("max_pool", 5, 5, 3), (stem,))
    right = post("right_conv", Layer("conv", 5, 2), (right,))
    parts = (
        b.add("left_place", Layer("place", 3, 5), (left,)),
        b.add("right_place", Layer("place", 2, 5, offset=3), (right,)),
    )
    cell = b.add("concat", Layer("identity", 5, 5), parts)
    even = b.add("even", Layer("conv", 5, 3, 1, 2, relu=True), (cell,))
    odd = b.add("odd_shift", Layer("shift", 5, 5), (cell,))
    odd = b.add("odd", Layer("conv", 5, 3, 1, 2, relu=True), (odd,))
    parts = (
        b.add("even_place", Layer("place", 3, 6), (even,)),
        b.add("odd_place", Layer("place", 3, 6, offset=3), (odd,)),
    )
    halved = b.add("halves", Layer("identity", 6, 6, norm="affine"), parts)
    pooled = b.add("down", Layer("max_pool", 5, 5, 2, 2), (cell,))
    pooled = b.add("down_conv", Layer("conv", 5, 6), (pooled,))
    deep = b.add("deep", Layer("depthwise", 5, 5, 5, 2, norm="affine"), (cell,))
    deep = b.add("deep_conv", Layer("conv", 5, 6, relu=True), (deep,))
    last = b.add("sum", Layer("identity", 6, 6), (halved, pooled, deep))
    b.add("classifier", Layer("linear", 6, CLASSES, bias=True), (last,))
    return Plan(tuple(b.steps), (6, 6, 3), CLASSES, (stem, cell, last))


PLANS = (open_plan, residual_plan, mixed_plan)


# ---- the passes ----------------------------------------------------------------------------------


def without_noise(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The arrays with rounding noise as zero; between noise and signal there must be a gap."""
    sizes = np.abs(np.concatenate([a.ravel() for a in arrays]))
    assert not ((sizes > 1e-14) & (sizes < 1e-11)).any(), np.sort(sizes[sizes > 1e-14])[:3]
    return [np.where(np.abs(a) > 1e-13, a, 0.0) for a in arrays]


def assert_decided(values: np.ndarray) -> None:
    """No rounding can change these signs."""
    sizes = np.abs(values)
    assert not ((sizes > 0) & (sizes < 1e-11)).any(), np.sort(sizes[sizes > 0])[:3]


def make_passes(plan: Plan, weights, images, labels, draws: dict) -> dict:
    """Every pass, named as in `Passes`, layers as lists."""
    x, half = images[None], len(images) // 2
    with_kernel = [i for i, step in enumerate(plan.steps) if step.layer.has_kernel]
    loss = cross_entropy(labels)
    gradients = without_noise(by_kernels(plan, weights, x, loss))
    alone = [
        without_noise(by_kernels(plan, weights, x[:, [i]], cross_entropy(labels[[i]])))
        for i in range(len(images))
    ]
    trace = run(plan, weights, [x])
    summed = by_value(plan, weights, [x], lambda z: z.sum((1, 2, 3, 4)), len(plan.steps))
    per_example = by_kernels(plan, weights, x, lambda z: z.sum(-1))
    rows = np.concatenate([g.reshape(len(images), -1) for g in per_example], 1)
    fresh = run(plan, weights, [x], norm="fresh")
    relus = [i for i, step in enumerate(plan.steps) if step.layer.relu]
    assert_decided(np.concatenate([t.inputs[i].ravel() for t in (trace, fresh) for i in relus]))
    flows = synaptic_flows(plan, weights)
    return {
        "gradients": gradients,
        "half_gradients": [
            without_noise(by_kernels(plan, weights, x[:, rows], cross_entropy(labels[rows])))
            for rows in (slice(0, half), slice(half, None))
        ],
        "curvature": curvature(plan, weights, x, loss, gradients),
        "products": products(plan, weights, x, loss, trace),
        "jacobian": without_noise([summed.reshape(len(images), -1)])[0],
        "sign_sums": [np.sign(layer).sum(0) for layer in zip(*alone, strict=True)],
        "ntk": rows @ rows.T,
        "agreements": np.stack([agreements(fresh.outputs[i]) for i in with_kernel]),
        "relu_agreements": np.stack([agreements(trace.inputs[i]) for i in relus]),
        "fresh_relu_agreements": np.stack([agreements(fresh.inputs[i]) for i in relus]),
        "patterns": [patterns(trace.inputs[i]) for i in relus],
        "synflow": np.array([log(flow.sum()) for flow in flows]),
        "synflow_snr": np.array([log(signal_to_noise(flow)) for flow in flows]),
        "zen": zen(plan, draws),
        "blocks": blocks(plan, weights, trace, draws["signs"]),
    }


def curvature(plan: Plan, weights, x, loss, gradients) -> list[np.ndarray]:
    """H g by a central difference along g, extrapolated to fourth order; two steps must agree."""

    def central(step: float) -> list[np.ndarray]:
        ends = []
        for sign in (1, -1):
            moved, rest = [], iter(gradients)
            for w in weights:
                change = {"kernel": w["kernel"] + sign * step * next(rest)} if "kernel" in w else {}
                moved.append(w | change)
            ends.append(by_kernels(plan, moved, x, loss))
        return [(plus - minus) / (2 * step) for plus, minus in zip(*ends, strict=True)]

    wide, narrow = central(2e-4), central(1e-4)
    best = [(4 * n - w) / 3 for n, w in zip(narrow, wide, strict=True)]
    for b, n in zip(best, narrow, strict=True):
        assert np.allclose(b, n, rtol=1e-4, atol=1e-4 * np.abs(b).max()), "a ReLU flips on the way"
    return best


def products(plan: Plan, weights, x, loss, trace: Trace) -> list[np.ndarray]:
    """Sum over pixels of output times gradient: the derivative by a factor on one example's
    channel."""
    found = []
    for index, step in enumerate(plan.steps):
        if step.layer.has_kernel:
            shape = (x.shape[1], step.layer.out_channels)
            factors = 1 + 1j * STEP * np.eye(math.prod(shape)).reshape(-1, *shape)
            scales = {index: factors[:, :, None, None]}
            value = loss(logits(run(plan, weights, trace.values[: index + 1], scales=scales)))
            found.append(np.broadcast_to(value.imag / STEP, math.prod(shape)).reshape(shape))
    return found


def agreements(x: np.ndarray) -> np.ndarray:
    bits = (x[0].reshape(x.shape[1], -1) > 0).astype(int)
    return bits @ bits.T + (1 - bits) @ (1 - bits).T


def patterns(x: np.ndarray) -> np.ndarray:
    bits = x[0].reshape(x.shape[1], -1) > 0
    return sum(bits[[i]].astype(np.uint32) << np.uint32(i) for i in range(len(bits)))


def synaptic_flows(plan: Plan, weights) -> list[np.ndarray]:
    """|theta| * dR/d|theta| of every layer, flat."""
    positive = [{name: np.abs(array) for name, array in w.items()} for w in weights]
    ones = np.ones((1, 1, *plan.input_shape))
    by = by_kernels(plan, positive, ones, lambda z: z.sum((1, 2)), norm="none")
    kernels = [w["kernel"] for w in positive if "kernel" in w]
    return [(k * g).ravel() for k, g in zip(kernels, by, strict=True)]


def zen(plan: Plan, draws: dict) -> dict:
    """Two forwards; a running variance starts at 1 and moves a tenth of the way each time."""
    norms = [i for i, step in enumerate(plan.steps) if step.layer.norm != "none"]
    running, features = {i: 1.0 for i in norms}, []
    for x in (draws["images"], draws["images"] + 0.01 * draws["noise"]):
        trace = run(plan, draws["weights"], [x[None]])
        for i in norms:
            running[i] = 0.9 * running[i] + 0.1 * trace.outputs[i].var((0, 1, 2, 3), ddof=1)
        last = trace.inputs[-1][0]
        features.append(np.maximum(last, 0) if plan.steps[-1].layer.relu else last)
    return {
        "distances": np.abs(features[0] - features[1]).sum((1, 2, 3)),
        "variances": np.array([running[i].mean() for i in norms]),
    }


def blocks(plan: Plan, weights, trace: Trace, signs: list[np.ndarray]) -> dict:
    outputs = [trace.values[i][0] for i in plan.blocks]
    flat = [y.reshape(-1, y.shape[-1]) for y in outputs]
    transfers = []
    for i, before in enumerate(plan.blocks[:-1]):
        function = lambda y, i=i: (y * signs[i]).sum((1, 2, 3, 4))  # noqa: E731
        g = by_value(plan, weights, trace.values[: before + 1], function, plan.blocks[i + 1])
        n, height, width, channels = signs[i].shape
        stride = g.shape[1] // height
        g = g.reshape(n, height, stride, width, stride, -1).transpose(0, 1, 3, 2, 4, 5)
        g = g.reshape(n * height * width, -1)
        transfers.append(g.T @ signs[i].reshape(-1, channels) / len(g))
    covariances = [np.cov(y.T, bias=True) for y in flat]
    return {"covariances": covariances, "transfers": transfers}


# ---- the file ------------------------------------------------------------------------------------


def main() -> None:
    rng = np.random.default_rng(0)
    arrays, scores, plans = {"labels": LABELS.astype(np.int32)}, [], []
    for number, make in enumerate(PLANS):
        plan = make()
        plans.append(plan)
        shape = (len(LABELS), *plan.input_shape)
        weights = [draw(rng, step.layer, uniform=True) for step in plan.steps]
        draws = {
            "weights": [draw(rng, step.layer, uniform=False) for step in plan.steps],
            "images": coarse(rng.normal(size=shape)),
            "noise": coarse(rng.normal(size=shape)),
            "signs": [
                rng.choice([-1.0, 1.0], (len(LABELS), *step.out_size, step.layer.out_channels))
                for step in (plan.steps[block - 1] for block in plan.blocks[1:])
            ],
        }
        images = coarse(rng.normal(size=shape))
        found = make_passes(plan, weights, images, LABELS, draws)
        scores.append(make_scores(plan, weights, LABELS, found))
        stored = {"images": images, "weights": weights, "draws": draws, "passes": found}
        arrays |= {f"{number}/{name}": array for name, array in flatten(stored).items()}
        print(number, json.dumps(scores[-1]))
    names = list(scores[0])
    table = np.array([[float(one[name]) for one in scores] for name in names])
    parts = ("az_expressivity", "az_progressivity", "az_trainability", "macs")
    combined = log_ranks(table[[names.index(part) for part in parts]])
    arrays["scores"] = np.vstack([table, combined])
    record = {"scores": [*names, "az_nas"], "plans": plans}
    arrays["record"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    np.savez_compressed(FILE, **arrays)
    print(f"{FILE.name}: {FILE.stat().st_size / 1000:.0f} kB")


def coarse(values: np.ndarray) -> np.ndarray:
    """Multiples of 1/32: exact in float32, small in a file."""
    return np.round(values * 32) / 32


def draw(rng, layer: Layer, *, uniform: bool) -> dict[str, np.ndarray]:
    """Weights exact in float32: uniform as at initialisation, or normal with biases zero."""
    i, o, k = layer.in_channels, layer.out_channels, layer.kernel
    shapes = {"conv": (k, k, i, o), "depthwise": (k, k, i), "linear": (i, o)}
    if layer.kind not in shapes:
        return {}
    shape = shapes[layer.kind]
    bound = 1 / math.sqrt(k * k * (1 if layer.kind == "depthwise" else i))
    draw = lambda size: np.round(rng.uniform(-bound, bound, size) * 2**14) / 2**14  # noqa: E731
    found = {"kernel": draw(shape) if uniform else coarse(rng.normal(size=shape))}
    return found | ({"bias": draw(o) if uniform else np.zeros(o)} if layer.bias else {})


def flatten(stored: dict) -> dict[str, np.ndarray]:
    """Lists of arrays end to end, in the smallest type that holds their numbers."""
    weights = lambda steps, name: [w[name] for w in steps if name in w]  # noqa: E731
    draws, passes = stored["draws"], stored["passes"]
    lists = {
        "kernels": weights(stored["weights"], "kernel"),
        "biases": weights(stored["weights"], "bias"),
        "draws/kernels": weights(draws["weights"], "kernel"),
        "draws/signs": draws["signs"],
        "half_gradients": [g for half in passes["half_gradients"] for g in half],
        "covariances": passes["blocks"]["covariances"],
        "transfers": passes["blocks"]["transfers"],
    }
    lists |= {
        name: passes[name]
        for name in ("gradients", "curvature", "products", "sign_sums", "patterns")
    }
    arrays = {name: np.concatenate([a.ravel() for a in arrays]) for name, arrays in lists.items()}
    arrays |= {"images": stored["images"], "draws/images": draws["images"]}
    arrays |= {"draws/noise": draws["noise"], **passes["zen"]}
    whole = ("jacobian", "ntk", "synflow", "synflow_snr")
    whole += ("agreements", "relu_agreements", "fresh_relu_agreements")
    return {name: small(a) for name, a in (arrays | {n: passes[n] for n in whole}).items()}


def small(array: np.ndarray) -> np.ndarray:
    for dtype in (np.int8, np.int16, np.uint32, np.float32):
        if np.isfinite(array).all() and (array.astype(dtype) == array).all():
            return array.astype(dtype)
    return array


if __name__ == "__main__":
    main()
