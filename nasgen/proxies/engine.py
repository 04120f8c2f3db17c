"""Scores many different networks without a compile for each.

Each network is planned, its programs are compiled where they are missing (all at once, several at a
time), then it is walked once for every pass that the proxies need.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from nasgen.keys import generator
from nasgen.networks import walks
from nasgen.networks.costs import count
from nasgen.networks.plan import Plan
from nasgen.networks.programs import PROGRAMS
from nasgen.proxies.proxy import PASSES, Passes, Proxy


class Scores(NamedTuple):
    """values: for each proxy, a score of every network (float64 `[networks]`).
    reasons: why a score is not finite, by (proxy, network)."""

    values: dict[str, Float[np.ndarray, " networks"]]
    reasons: dict[tuple[str, int], str]


def score(
    plans: Sequence[Plan],
    proxies: Mapping[str, Proxy],
    key: Key[Array, ""],
    images: Float[np.ndarray, "batch height width channels"],
    labels: Int[np.ndarray, " batch"],
    *,
    on_scored: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Scores every plan on one batch. All networks draw their weights from the same key, so a score
    does not depend on its neighbours. `on_scored` is told how many are done.

    Raises ValueError for an empty `proxies`, an unknown pass, or images of another shape.
    """
    needs = _needs(proxies)
    for plan in plans:
        if tuple(images.shape[1:]) != plan.input_shape:
            raise ValueError(
                f"`images` must have the plans' input shape {plan.input_shape}; "
                f"got {tuple(images.shape[1:])}."
            )
    walks.compile_for(plans, needs, images.shape[0])
    values = {name: np.empty(len(plans)) for name in proxies}
    reasons: dict[tuple[str, int], str] = {}
    for index, plan in enumerate(plans):
        passes = run_passes(plan, walks.draw_weights(generator(key), plan), images, labels, needs)
        for name, proxy in proxies.items():
            value = proxy.function(passes)
            values[name][index] = value
            if not np.isfinite(value):
                reasons[name, index] = _reason(passes, value)
        on_scored(index + 1)
    return Scores(values, reasons)


def _reason(passes: Passes, value: float) -> str:
    """What is not finite behind a score that is not."""
    if passes.gradients is not None and not all(np.isfinite(g).all() for g in passes.gradients):
        return f"{value}: a gradient is not finite"
    if passes.synflow is not None and not np.isfinite(passes.synflow).any():
        return f"{value}: no synaptic flow reaches any layer"
    return f"{value}: the passes are finite, the proxy's own formula is not"


def _needs(proxies: Mapping[str, Proxy]) -> tuple[str, ...]:
    if not proxies:
        raise ValueError("`proxies` must name at least one proxy; got none.")
    needs = {need for proxy in proxies.values() for need in proxy.needs}
    if needs - set(PASSES):
        raise ValueError(f"a proxy's `needs` must be among {PASSES}; got {sorted(needs)}.")
    return tuple(name for name in PASSES if name in needs)


def run_passes(
    plan: Plan,
    weights: Sequence[walks.Weights],
    images: Float[np.ndarray, "batch height width channels"],
    labels: Int[np.ndarray, " batch"],
    needs: Sequence[str],
) -> Passes:
    """The passes in `needs` over one network with the given weights."""
    padded = walks.pad_plan(plan, weights)
    images = walks.pad_images(np.asarray(images, np.float32))
    with_kernel = [step for step in plan.steps if step.layer.has_kernel]
    kernels = [w["kernel"] for w in weights if "kernel" in w]
    gradients = agreements = synflow = None
    if "gradients" in needs:
        forward = walks.walk_forward(plan, padded, images, PROGRAMS.run)
        labels = np.asarray(labels, np.int32)
        gradients = walks.walk_backward(plan, padded, forward, labels, PROGRAMS.run)
    if "codes" in needs:
        agreements = walks.walk_codes(plan, padded, images, PROGRAMS.run)
    if "synflow" in needs:
        flows = walks.walk_synflow(plan, padded, PROGRAMS.run)
        steps = zip(plan.steps, flows, strict=True)
        synflow = np.array(
            [-np.inf if flow is None else flow for step, flow in steps if step.layer.has_kernel]
        )
    gradients, agreements = jax.device_get((gradients, agreements))
    if gradients is not None:
        steps = zip(plan.steps, gradients, strict=True)
        gradients = [walks.true_gradient(s.layer, g) for s, g in steps if s.layer.has_kernel]
    if agreements is not None:
        padding = np.array([walks.padded_units(step) for step in with_kernel], np.float64)
        agreements = np.stack(agreements).astype(np.float64) - padding[:, None, None]
    return Passes(count(plan), kernels, gradients, agreements, synflow)
