"""Scores many different networks without a compile for each, on all processors of every process.

Each network is planned, its programs are compiled where they are missing (all at once, several at a
time), then it is walked once for every pass that the proxies need. Processes take every n-th
network, walkers of a process the next that is left; no score depends on who computed it.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from reprlib import repr as brief
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key, Num

from nasgen import processes
from nasgen.keys import generator
from nasgen.networks.padding import draw_weights
from nasgen.networks.plan import Plan
from nasgen.networks.programs import Programs, hosts, programs_on
from nasgen.proxies.passes import PASSES, compile_for, draw, run_passes
from nasgen.proxies.proxy import Ensemble, Passes, Proxy

_TOGETHER = 16  # networks whose programs are compiled at once: fewer programs than are kept
_A_WALK, _MOST_WALKS = 2, 8  # processors of one walk; walks at a time, of one interpreter


class Scores(NamedTuple):
    """values: for each proxy, a score of every network (float64 `[networks]`).
    reasons: why a score is not finite, by (proxy, network)."""

    values: dict[str, Float[np.ndarray, " networks"]]
    reasons: dict[tuple[str, int], str]


def score(
    plans: Sequence[Plan],
    proxies: Mapping[str, Proxy | Ensemble],
    key: Key[Array, ""],
    images: Float[np.ndarray, "batch *pixels channels"],
    targets: Num[np.ndarray, "batch *target"],
    *,
    double: bool = False,
    devices: Sequence[jax.Device] | None = None,
    threads: int | None = None,
    on_scored: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Scores every plan on one batch; every process passes the same and gets all scores.

    All networks draw their weights from the same key, so a score does not depend on its neighbours
    (an ensemble's does, by definition; its parts must be among `proxies`). double: passes in
    float64, exact to rounding and slower. devices: of this process, by default `programs.hosts`.
    threads: to compile and to walk with, by default one a processor. `on_scored` is told how many
    of this process's are done.

    Raises ValueError for an empty `proxies`, an unknown pass or part, images of another shape,
    targets that are not for a network's outputs, and where a proxy returns no number.
    """
    single = {name: proxy for name, proxy in proxies.items() if isinstance(proxy, Proxy)}
    needs = _needs(proxies, single)
    for plan in plans:
        check_batch(plan, images, targets)
    dtype = np.float64 if double else np.float32
    noise_key = jax.random.fold_in(key, 1)  # `key` itself draws the weights

    def score_one(plan: Plan, programs: Programs) -> dict[str, tuple[float, str]]:
        """Value and, where that is not finite, reason, by proxy."""
        weights = draw_weights(generator(key), plan)
        draws = draw(generator(noise_key), plan, len(images), needs)
        options = dict(dtype=dtype, programs=programs)
        passes = run_passes(plan, weights, images, targets, needs, draws, **options)
        values = {name: _number(name, proxy.function(passes)) for name, proxy in single.items()}
        return {
            name: (value, "" if np.isfinite(value) else _reason(single[name], passes, value))
            for name, value in values.items()
        }

    indices = list(range(processes.index(), len(plans), processes.count()))
    mine = [plans[index] for index in indices]
    devices = hosts() if devices is None else devices
    threads = threads or processes.cpu_count()
    each = threads // len(devices)
    walkers = [device for device in devices for _ in range(_walks(device, each))]
    found: list[Any] = []
    for start in range(0, len(mine), _TOGETHER):
        told = lambda done, before=start: on_scored(before + done)  # noqa: E731
        some = mine[start : start + _TOGETHER]
        for programs in map(programs_on, devices):
            options = dict(dtype=dtype, programs=programs, threads=threads)
            with jax.enable_x64(double):
                compile_for(some, needs, len(images), **options)
        found += _walked(some, walkers, score_one, double, told)
    found = _from_all_processes(dict(zip(indices, found, strict=True)), plans)
    values = {name: np.full(len(plans), np.nan) for name in proxies}
    reasons: dict[tuple[str, int], str] = {}
    for index, row in sorted(found.items()):
        for name, (value, reason) in row.items():
            values[name][index] = value
            if reason:
                reasons[name, index] = reason
    _combine(proxies, values, reasons)
    return Scores(values, reasons)


def _walks(device: jax.Device, threads: int) -> int:
    """Walks at a time on a device: several on many processors, one on an accelerator."""
    return min(max(threads // _A_WALK, 1), _MOST_WALKS) if device.platform == "cpu" else 1


def _walked(
    plans: Sequence[Plan],
    walkers: Sequence[jax.Device],
    score_one: Callable[[Plan, Programs], Any],
    double: bool,
    on_scored: Callable[[int], None],
) -> list[Any]:
    """`score_one` of every plan, one thread a walker, which is told its device and takes the next
    plan that is left."""
    found: list[Any] = [None] * len(plans)
    left, lock = iter(range(len(plans))), threading.Lock()
    done = 0

    def work(device: jax.Device) -> None:
        nonlocal done
        programs = programs_on(device)
        with jax.enable_x64(double):
            while True:
                with lock:
                    index = next(left, None)
                if index is None:
                    return
                found[index] = score_one(plans[index], programs)
                with lock:
                    done += 1
                    on_scored(done)

    if len(walkers) == 1:
        work(walkers[0])
    else:
        with ThreadPoolExecutor(len(walkers)) as pool:
            list(pool.map(work, walkers))
    return found


def _from_all_processes(mine: dict[int, Any], plans: Sequence[Plan]) -> dict[int, Any]:
    """The union of every process's entries (JSON values). Raises RuntimeError where they were not
    asked for the same plans."""
    if processes.count() == 1:
        return mine
    asked = hashlib.sha256(repr(plans).encode()).hexdigest()
    told = processes.gathered([asked, list(mine.items())])
    if len({asked for asked, _ in told}) > 1:
        raise RuntimeError(
            "`plans` must be the same in every process; they differ: the machines of one run must "
            "be of one kind, with the same versions of everything."
        )
    return {index: value for _, rows in told for index, value in rows}


def _needs(proxies: Mapping[str, Proxy | Ensemble], single: Mapping[str, Proxy]) -> tuple[str, ...]:
    if not proxies:
        raise ValueError("`proxies` must name at least one proxy; got none.")
    for name, proxy in proxies.items():
        if not isinstance(proxy, Proxy | Ensemble):
            raise ValueError(f"`proxies[{name!r}]` must be a Proxy or an Ensemble; got {proxy!r}.")
        unknown = [need for need in getattr(proxy, "needs", ()) if need not in PASSES]
        if unknown:
            raise ValueError(f"`needs` of {name} must be among {PASSES}; got {unknown[0]!r}.")
        missing = set(getattr(proxy, "parts", ())) - set(single)
        if missing:
            raise ValueError(f"`proxies` must hold {sorted(missing)} too, the parts of {name}.")
    needs = {need for proxy in single.values() for need in proxy.needs}
    return tuple(name for name in PASSES if name in needs)


def check_batch(plan: Plan, images: np.ndarray, targets: np.ndarray) -> None:
    """Raises ValueError where a batch does not fit a network, and for one that no walk knows."""
    if any(step.layer.kind == "excite" for step in plan.steps):
        raise ValueError("`plans` must be without squeeze-and-excitation, which no proxy scores.")
    if tuple(images.shape[1:]) != plan.input_shape:
        raise ValueError(
            f"`images` must have the plans' input shape {plan.input_shape}; "
            f"got {tuple(images.shape[1:])}."
        )
    wanted = (len(images), *plan.target_shape)
    if targets.shape != wanted:
        raise ValueError(
            f"`targets` must be {list(wanted)} for this network; got {list(targets.shape)}."
        )
    low, high = np.min(targets), np.max(targets)
    if plan.loss == "cross_entropy" and (low < 0 or high >= plan.num_classes):
        raise ValueError(
            f"`targets` must be classes in 0..{plan.num_classes - 1}; got {low}..{high}."
        )


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"the proxy {name} must return one number; got {brief(value)}.") from None


def combined(
    ensemble: Ensemble, values: Mapping[str, Float[np.ndarray, " networks"]]
) -> Float[np.ndarray, " networks"]:
    """The ensemble's scores over the pool in which none of its parts is NaN, NaN elsewhere.
    Infinite parts are left to `combine`: a rank has a place for them."""
    parts = np.stack([values[part] for part in ensemble.parts])
    present = ~np.isnan(parts).any(0)
    found = np.full(len(present), np.nan)
    if present.any():
        found[present] = ensemble.combine(parts[:, present])
    return found


def _combine(proxies, values: dict[str, np.ndarray], reasons: dict) -> None:
    """Fills in the ensembles; a network with a part that is NaN has no rank and no score."""
    for name, proxy in proxies.items():
        if not isinstance(proxy, Ensemble):
            continue
        values[name] = combined(proxy, values)
        for index in np.flatnonzero(~np.isfinite(values[name])):
            bad = [p for p in proxy.parts if not np.isfinite(values[p][index])] or [name]
            reasons[name, int(index)] = f"{values[name][index]}: {', '.join(bad)} not finite"


def _reason(proxy: Proxy, passes: Passes, value: float) -> str:
    """What in the passes that a proxy reads is behind a score that is not finite."""
    zeros = ""
    for name in proxy.needs:
        arrays = [np.asarray(array) for array in jax.tree.leaves(getattr(passes, name))]
        if name in ("synflow", "synflow_snr"):
            if not np.isfinite(arrays).any():
                return f"{value}: no synaptic flow reaches any layer"
        elif not all(np.isfinite(array).all() for array in arrays):
            return f"{value}: {name} not finite"
        else:
            empty = sum(not array.any() for array in arrays)
            if empty:
                zeros = zeros or f"{value}: {name} is zero in {empty} of {len(arrays)} arrays"
    return zeros or f"{value}: the passes are finite, the proxy's own formula is not"
