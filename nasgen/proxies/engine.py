"""Scores many different networks without a compile for each.

Each network is planned, its programs are compiled where they are missing (all at once, several at a
time), then it is walked once for every pass that the proxies need.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from nasgen.keys import children, generator
from nasgen.networks.padding import draw_weights
from nasgen.networks.plan import Plan
from nasgen.proxies.passes import PASSES, compile_for, draw, run_passes
from nasgen.proxies.proxy import Ensemble, Passes, Proxy


class Scores(NamedTuple):
    """values: for each proxy, a score of every network (float64 `[networks]`).
    reasons: why a score is not finite, by (proxy, network)."""

    values: dict[str, Float[np.ndarray, " networks"]]
    reasons: dict[tuple[str, int], str]


def score(
    plans: Sequence[Plan],
    proxies: Mapping[str, Proxy | Ensemble],
    key: Key[Array, ""],
    images: Float[np.ndarray, "batch height width channels"],
    labels: Int[np.ndarray, " batch"],
    *,
    double: bool = False,
    on_scored: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Scores every plan on one batch. All networks draw their weights from the same key, so a score
    does not depend on its neighbours (an ensemble's does, by definition; its parts must be among
    `proxies`). `on_scored` is told how many are done. double: passes in float64, exact to rounding
    and several times slower.

    Raises ValueError for an empty `proxies`, an unknown pass or part, or images of another shape.
    """
    single = {name: proxy for name, proxy in proxies.items() if isinstance(proxy, Proxy)}
    needs = _needs(proxies, single)
    for plan in plans:
        if tuple(images.shape[1:]) != plan.input_shape:
            raise ValueError(
                f"`images` must have the plans' input shape {plan.input_shape}; "
                f"got {tuple(images.shape[1:])}."
            )
    dtype = np.float64 if double else np.float32
    keys = children(key, "weights", "draws")
    values = {name: np.full(len(plans), np.nan) for name in proxies}
    reasons: dict[tuple[str, int], str] = {}
    with jax.enable_x64(double):
        compile_for(plans, needs, len(images), dtype=dtype)
        for index, plan in enumerate(plans):
            weights = draw_weights(generator(key), plan)
            draws = draw(generator(keys["draws"]), plan, len(images), needs)
            passes = run_passes(plan, weights, images, labels, needs, draws, dtype=dtype)
            for name, proxy in single.items():
                values[name][index] = value = proxy.function(passes)
                if not np.isfinite(value):
                    reasons[name, index] = _reason(passes, value)
            on_scored(index + 1)
    _combine(proxies, values, reasons)
    return Scores(values, reasons)


def _needs(proxies: Mapping[str, Proxy | Ensemble], single: Mapping[str, Proxy]) -> tuple[str, ...]:
    if not proxies:
        raise ValueError("`proxies` must name at least one proxy; got none.")
    needs = {need for proxy in single.values() for need in proxy.needs}
    if needs - set(PASSES):
        raise ValueError(f"a proxy's `needs` must be among {PASSES}; got {sorted(needs)}.")
    for name, proxy in proxies.items():
        missing = set(getattr(proxy, "parts", ())) - set(single)
        if missing:
            raise ValueError(f"`proxies` must hold {sorted(missing)} too, the parts of {name}.")
    return tuple(name for name in PASSES if name in needs)


def _combine(proxies, values: dict[str, np.ndarray], reasons: dict) -> None:
    """Fills in the ensembles; a network with a part that is not finite has no rank and no score."""
    for name, proxy in proxies.items():
        if not isinstance(proxy, Ensemble):
            continue
        parts = np.stack([values[part] for part in proxy.parts])
        finite = np.isfinite(parts).all(0)
        if finite.any():
            values[name][finite] = proxy.combine(parts[:, finite])
        for index in np.flatnonzero(~finite):
            bad = [part for part in proxy.parts if not np.isfinite(values[part][index])]
            reasons[name, int(index)] = f"nan: {', '.join(bad)} not finite"


def _reason(passes: Passes, value: float) -> str:
    """What is not finite behind a score that is not."""
    for name in PASSES:
        arrays = jax.tree.leaves(getattr(passes, name))
        if name not in ("synflow", "synflow_snr") and not all(np.isfinite(a).all() for a in arrays):
            return f"{value}: {name} not finite"
    if passes.synflow is not None and not np.isfinite(passes.synflow).any():
        return f"{value}: no synaptic flow reaches any layer"
    return f"{value}: the passes are finite, the proxy's own formula is not"
