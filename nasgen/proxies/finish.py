"""What the walks of the passes leave, on the host: cropped to true widths, in `Passes`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nasgen.networks import flows, padding
from nasgen.networks.costs import count
from nasgen.networks.ops import EPSILON
from nasgen.networks.padding import Weights, bucket, crop, true_gradient
from nasgen.networks.plan import Plan
from nasgen.proxies.proxy import Blocks, Passes, Zen

ZEN_MOMENTUM = 0.1  # of the running variances


def finish(plan: Plan, weights: Sequence[Weights], targets, walked: dict[str, Any]) -> Passes:
    """What the walks left, on the host and at true widths."""
    kernels = [w["kernel"] for w in weights if "kernel" in w]
    found = {name: _FINISH[name](plan, value) for name, value in walked.items() if name in _FINISH}
    if "synflow" in walked or "synflow_snr" in walked:
        steps = zip(
            plan.steps, weights, walked.get("synflow", walked.get("synflow_snr")), strict=True
        )
        layers = [flows.layer_flow(s.layer, w["kernel"], f) for s, w, f in steps if "kernel" in w]
        found["synflow"] = np.array([one.total for one in layers])
        found["synflow_snr"] = np.array([one.ratio for one in layers])
    return Passes(count(plan), kernels, np.asarray(targets), plan.num_classes, **found)


def _true(plan: Plan, kernels: Sequence) -> list[np.ndarray]:
    rows = zip(plan.steps, kernels, strict=True)
    return [true_gradient(s.layer, g) for s, g in rows if s.layer.has_kernel]


def _centred(plan: Plan) -> bool:
    """Whether the classifier averages nothing but what batch norms have centred, a sum of it, or
    zeros. The logits' sum over the batch is constant then, and so are those of an example alone:
    what is left of their gradients is rounding noise, for which we put the zeros of theory."""
    centred = [False]
    for step in plan.steps:
        kept = step.layer.kind == "identity" and not step.layer.relu
        sources = all(centred[value] for value in step.inputs)
        norm, nothing = step.layer.norm != "none", step.layer.kind == "zero"
        centred.append(norm or nothing or (kept and sources))
    last = plan.steps[-1]
    return not last.layer.relu and all(centred[value] for value in last.inputs)


def _add_signs(plan: Plan, groups: list) -> list[np.ndarray]:
    """groups: kernel gradients of some examples at a time, their first axis."""
    if _centred(plan):
        return _true(plan, [None] * len(plan.steps))
    number = next(len(g) for g in groups[0] if g is not None)
    examples = [
        [g if g is None else g[i] for g in group] for group in groups for i in range(number)
    ]
    signs = [_signs(_true(plan, kernels)) for kernels in examples]
    return [np.sum(layer, 0) for layer in zip(*signs, strict=True)]


def _signs(gradients: list[np.ndarray]) -> list[np.ndarray]:
    """Signs, 0 for what is rounding beside the network's largest gradient."""
    floor = 32 * np.finfo(gradients[0].dtype).eps * max(np.abs(g).max() for g in gradients)
    return [np.sign(np.where(np.abs(g) > floor, g, 0)) for g in gradients]


def _gram(plan: Plan, examples: list) -> np.ndarray:
    rows = [np.concatenate([g.ravel() for g in _true(plan, kernels)]) for kernels in examples]
    rows = np.stack(rows).astype(np.float64)
    return rows @ rows.T


def _finish_products(plan: Plan, products: list) -> list[np.ndarray]:
    rows = [(s.layer, p) for s, p in zip(plan.steps, products, strict=True) if s.layer.has_kernel]
    batch = next(len(p) for _, p in rows if p is not None)
    return [
        np.zeros((batch, layer.out_channels)) if p is None else p[:, : layer.out_channels]
        for layer, p in rows
    ]


def _finish_agreements(padded: list[int], agreements: list) -> np.ndarray:
    return np.stack(agreements).astype(np.float64) - np.array(padded, np.float64)[:, None, None]


def _output_agreements(plan: Plan, agreements: list) -> np.ndarray:
    padded = [padding.padded_units(step) for step in plan.steps if step.layer.has_kernel]
    return _finish_agreements(padded, agreements)


def _relu_agreements(plan: Plan, agreements: list) -> np.ndarray:
    padded = [padding.padded_inputs(step) for step in plan.steps if step.layer.relu]
    return _finish_agreements(padded, agreements)


def _finish_patterns(plan: Plan, patterns: list) -> list[np.ndarray]:
    widths = [step.layer.in_channels for step in plan.steps if step.layer.relu]
    rows = zip(patterns, widths, strict=True)
    return [p[..., :width].reshape(len(p), -1) for p, width in rows]


def _finish_zen(plan: Plan, zen: tuple) -> Zen:
    distances, first, second = zen
    variances = []
    for step, *scales in zip(plan.steps, first, second, strict=True):
        if step.layer.norm == "none":
            continue
        n = len(distances) * np.prod(step.out_size)
        running = np.ones(step.layer.out_channels)
        for scale in scales:
            scale = scale[: step.layer.out_channels].astype(np.float64)
            batch = np.maximum(scale**-2 - EPSILON, 0) * n / max(n - 1, 1)
            running = (1 - ZEN_MOMENTUM) * running + ZEN_MOMENTUM * batch
        variances.append(running.mean())
    return Zen(distances.astype(np.float64), np.array(variances))


def _finish_blocks(plan: Plan, blocks: tuple) -> Blocks:
    widths = [plan.steps[block - 1].layer.out_channels for block in plan.blocks]
    covariances = [crop(c, (n, n)) for c, n in zip(blocks[0], widths, strict=True)]
    transfers = []
    for transfer, before, after in zip(blocks[1], widths, widths[1:], strict=False):
        parts = transfer.reshape(-1, bucket(before), transfer.shape[1])
        transfers.append(parts[:, :before, :after].reshape(-1, after))
    return Blocks(covariances, transfers)


def _finish_jacobian(plan: Plan, g) -> np.ndarray:
    return (np.zeros_like(g) if _centred(plan) else g)[..., : plan.input_shape[-1]].reshape(
        len(g), -1
    )


_FINISH: dict[str, Callable[[Plan, Any], Any]] = {
    "gradients": _true,
    "products": _finish_products,
    "half_gradients": lambda plan, halves: tuple(_true(plan, half) for half in halves),
    "curvature": _true,
    "jacobian": _finish_jacobian,
    "sign_sums": _add_signs,
    "ntk": _gram,
    "agreements": _output_agreements,
    "relu_agreements": _relu_agreements,
    "fresh_relu_agreements": _relu_agreements,
    "patterns": _finish_patterns,
    "zen": _finish_zen,
    "blocks": _finish_blocks,
}
