"""Scores of many architectures in chunks, each a stage of the run: an interrupted run goes on.

A chunk's file holds every proxy's scores and the reasons of those that are not finite. Chunks draw
the same weights and see the same batch, so their sizes change no score. Ensembles depend on the
pool: they are formed at the end, over all chunks.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, Key

from nasgen.networks.plan import Plan
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.workdir import Workdir
from nasgen.proxies import Ensemble, Proxy, engine
from nasgen.training.progress import progress

FOLDER = "scores"


class Job(NamedTuple):
    """What is scored under one name.

    make_plans: the plans of the architectures in a range of rows, made when their turn comes.
    """

    name: str
    num: int
    make_plans: Callable[[range], Sequence[Plan]]
    proxies: Mapping[str, Proxy | Ensemble]
    key: Key[Array, ""]
    images: Float[np.ndarray, "batch height width channels"]
    labels: Int[np.ndarray, " batch"]
    double: bool = False


class Scored(NamedTuple):
    """values: of each proxy, all scores. reasons: of each proxy, why how many are not finite.
    seconds: wall seconds an architecture in the median chunk, compiling left out."""

    values: dict[str, Float[np.ndarray, " architectures"]]
    reasons: dict[str, dict[str, int]]
    seconds: float


def stages(workdir: Workdir, job: Job, chunk: int) -> list[Stage]:
    """The stages that score a job, `chunk` architectures each."""
    starts = range(0, job.num, chunk)
    return [
        _stage(workdir, job, i, range(s, min(s + chunk, job.num))) for i, s in enumerate(starts)
    ]


def _stage(workdir: Workdir, job: Job, index: int, rows: range) -> Stage:
    name = f"{job.name}_{index:03d}"
    file = f"{FOLDER}/{name}.npz"

    def run() -> dict[str, Any]:
        single = {n: proxy for n, proxy in job.proxies.items() if isinstance(proxy, Proxy)}
        data, started, times = (job.key, job.images, job.labels), time.perf_counter(), []
        with progress(len(rows), label=name) as report:

            def on_scored(done: int) -> None:
                times.append(time.perf_counter())
                report(done, "")

            options = dict(double=job.double, on_scored=on_scored)
            found = engine.score(job.make_plans(rows), single, *data, **options)
        (workdir.path / FOLDER).mkdir(exist_ok=True)
        reasons = json.dumps([[n, r] for (n, _), r in found.reasons.items()])
        np.savez(workdir.path / file, **found.values, reasons=reasons)
        return {"architectures": len(rows), **_clocked(started, times)}

    return Stage(name, (file,), run)


def run(workdir: Workdir, job: Job, chunk: int) -> None:
    """Scores the chunks of a job that are not there yet."""
    for stage in stages(workdir, job, chunk):
        run_stages(workdir, [stage])


def time_passes(workdir: Workdir, job: Job, num: int) -> dict[str, float]:
    """Seconds an architecture of each proxy computed alone, on the first `num` of a job; proxies
    that need the same passes are timed once, an ensemble takes the sum of its parts."""
    single = {name: proxy for name, proxy in job.proxies.items() if isinstance(proxy, Proxy)}
    plans = job.make_plans(range(min(num, job.num)))

    def measure() -> dict[str, float]:
        by_needs = {}
        for proxy in single.values():
            if proxy.needs and proxy.needs not in by_needs:
                by_needs[proxy.needs] = _seconds(job, plans, {"timed": proxy})
        return {name: by_needs.get(proxy.needs, 0.0) for name, proxy in single.items()}

    name = f"{job.name}_times"
    run_stages(workdir, [Stage(name, (), measure)])
    read_back = read_stage(workdir.path, name)
    ensembles = {n: p for n, p in job.proxies.items() if isinstance(p, Ensemble)}
    times = {proxy: read_back[proxy] for proxy in single}
    for name, ensemble in ensembles.items():
        times[name] = sum({single[part].needs: times[part] for part in ensemble.parts}.values())
    return times


def _seconds(job: Job, plans: Sequence[Plan], proxies: Mapping[str, Proxy]) -> float:
    """Of the second of two rounds, so that everything is compiled and warm."""
    for _ in range(2):
        started = time.perf_counter()
        engine.score(plans, proxies, job.key, job.images, job.labels, double=job.double)
    return (time.perf_counter() - started) / len(plans)


def _clocked(started: float, times: Sequence[float]) -> dict[str, float]:
    """Seconds an architecture: from the first that was finished, since programs compile before."""
    if len(times) < 2:
        return {"seconds_each": times[-1] - started if times else 0.0}
    return {"seconds_each": (times[-1] - times[0]) / (len(times) - 1)}


def read(workdir: Workdir, job: Job, chunk: int) -> Scored:
    """All chunks of a job, and its ensembles over the whole pool."""
    names = [stage.name for stage in stages(workdir, job, chunk)]
    parts, notes = [], []
    for name in names:
        with np.load(workdir.path / FOLDER / f"{name}.npz") as held:
            notes += json.loads(str(held["reasons"]))
            parts.append({n: held[n] for n in held.files if n != "reasons"})
    values = {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}
    reasons: dict[str, dict[str, int]] = {}
    for proxy, reason in notes:
        counted = reasons.setdefault(proxy, {})
        counted[reason] = counted.get(reason, 0) + 1
    seconds = float(np.median([read_stage(workdir.path, n)["seconds_each"] for n in names]))
    for name, proxy in job.proxies.items():
        if isinstance(proxy, Ensemble):
            values[name] = engine.combined(proxy, values)
            left = int((~np.isfinite(values[name])).sum())
            reasons |= {name: {"nan: a part is NaN": left}} if left else {}
    return Scored({name: values[name] for name in job.proxies}, reasons, seconds)
