"""Latency on this device for a pipeline: the predictor, measured once and kept in a file.

The file holds, by device and batch, the table of layers' times and the predictor fitted on it and
on some random networks measured whole. Another device or batch adds an entry of its own.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from nasgen import processes
from nasgen.keys import children, generator
from nasgen.networks.latency import (
    Signature,
    Table,
    device_name,
    live_steps,
    measure_network,
    measure_table,
    signature,
    table_from_json,
    table_to_json,
)
from nasgen.networks.latency_model import (
    Predictor,
    fit,
    group,
    predictor_from_json,
    predictor_to_json,
)
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.environment import program_folder
from nasgen.search.problem import BudgetError, Problem, within
from nasgen.spaces import SPACES
from nasgen.spaces import macro as macro_space
from nasgen.training.progress import progress
from nasgen.types import Architecture, Budget, Task


class Effort(NamedTuple):
    """How much is measured, and of which networks.

    layers: signatures of each group of layers. networks: measured whole, for the fit. sizes: pixels
    of their images. max_channels: of their stages.
    """

    layers: int = 24
    networks: int = 24
    sizes: tuple[int, ...] = (8, 16, 32)
    max_channels: int = 64


def random_plans(
    key: Key[Array, ""], num: int, *, sizes: Sequence[int], max_channels: int
) -> list[Plan]:
    """Random `open` networks for colour images of 10 classes, their sizes in turn."""
    space, plans = SPACES["open"], []
    for index, size in enumerate(sizes):
        share = len(range(index, num, len(sizes)))
        options = dict(size=size, max_channels=max_channels)
        own = jax.random.fold_in(key, index)
        drawn = macro_space.sample_networks(own, share, space, **options)
        task = Task("random", (size, size, 3), 10)
        plans += [make_plan(one, space.ops, task) for one in drawn]
    return plans


def choose_signatures(key: Key[Array, ""], plans: Sequence[Plan], num_each: int) -> list[Signature]:
    """At most `num_each` different random signatures of each group of layers in `plans`."""
    found = sorted({signature(step) for plan in plans for step in live_steps(plan)})
    order = generator(key).permutation(len(found))
    chosen: dict[str, list[Signature]] = {}
    for index in order:
        members = chosen.setdefault(group(found[index][0]), [])
        if len(members) < num_each:
            members.append(found[index])
    return [one for members in chosen.values() for one in members]


class Measured(NamedTuple):
    """A table, the predictor fitted on it, and the wall seconds that both took."""

    table: Table
    predictor: Predictor
    seconds: float


def measure(key: Key[Array, ""], effort: Effort, *, batch: int = 1) -> Measured:
    """Measures layers and whole networks on this device, and fits the predictor: minutes."""
    started = time.perf_counter()
    keys = children(key, "pool", "choice", "networks")
    draw = dict(sizes=effort.sizes, max_channels=effort.max_channels)
    pool = random_plans(keys["pool"], 40 * len(effort.sizes), **draw)
    chosen = choose_signatures(keys["choice"], pool, effort.layers)
    with progress(len(chosen), label="latency: layers measured") as report:
        table = measure_table(chosen, batch=batch, on_measured=lambda done: report(done, ""))
    plans = random_plans(keys["networks"], effort.networks, **draw)
    times = measure_networks(plans, batch=batch)
    return Measured(table, fit(table, plans, times), time.perf_counter() - started)


def measure_networks(plans: Sequence[Plan], *, batch: int = 1) -> np.ndarray:
    """ms of each network, measured whole."""
    times = []
    with progress(len(plans), label="latency: networks measured") as report:
        for plan in plans:
            times.append(measure_network(plan, batch=batch))
            report(len(times), "")
    return np.array(times)


EFFORT = Effort()  # of what is kept


def kept(path: Path | None, *, batch: int = 1, effort: Effort = EFFORT) -> Measured:
    """What `path` (by default a file in the user's cache) holds for this device, which is measured
    and added where it is missing; in a run of several processes, what the first one's does. Raises
    ValueError where the file is another."""
    found = processes.from_first(lambda: _kept(path or default_file(), batch, effort))
    try:
        return measured_from_json(found)
    except (KeyError, TypeError):
        raise ValueError(
            f"the file of latencies must hold {Measured._fields}; got {path or default_file()}."
        ) from None


def _kept(path: Path, batch: int, effort: Effort) -> Any:
    """The entry of the file, made where it is missing."""
    entries = _read(path)
    name = f"{device_name()}, batch {batch}"
    if name not in entries:
        entries[name] = measured_to_json(measure(jax.random.key(0), effort, batch=batch))
        _write(path, entries)
    return entries[name]


def measured_to_json(found: Measured) -> dict[str, Any]:
    """What was measured as plain values; `measured_from_json` reads it back."""
    table, predictor = table_to_json(found.table), predictor_to_json(found.predictor)
    return {"table": table, "predictor": predictor, "seconds": found.seconds}


def measured_from_json(values: dict[str, Any]) -> Measured:
    """Raises KeyError or TypeError where a part is missing, ValueError where one is damaged."""
    table, predictor, seconds = (values[name] for name in Measured._fields)
    return Measured(table_from_json(table), predictor_from_json(predictor), seconds)


Propose = Callable[[Key[Array, ""], Budget, int], list[Architecture]]


def implied_budget(
    key: Key[Array, ""], problem: Problem, propose: Propose, *, num: int = 512, tried: int = 64
) -> Budget:
    """The problem's budget with bounds on MACs and activation memory that its `latency_ms` implies.

    The macro transformer knows counted costs only. It is first told the median costs of the
    `_NEAREST` random networks whose latency is nearest to the bound; while less than `_SHARE` of
    what `propose(key, budget, tried)` then writes is fast enough, both bounds shrink. They are
    hints: the search itself keeps to the predicted latency.
    """
    budget = problem.budget
    if budget.latency_ms is None:
        return budget
    keys = children(key, "sample", "propose")
    drawn = problem.sample(keys["sample"], num)
    distances = np.abs(np.log(problem.latency(drawn) / budget.latency_ms))
    near = np.argsort(distances, kind="stable")[:_NEAREST]
    counted = problem.count([drawn[i] for i in near])
    hints = {n: float(np.median(getattr(counted, n))) for n in ("macs", "activation_memory")}
    given = {name: bound for name, bound in budget.counted.items() if bound is not None}
    asked = budget
    for attempt in range(_ATTEMPTS):
        factor = _SHRINK**attempt
        bounds = {n: int(min(h * factor, given.get(n, h))) for n, h in hints.items()}
        try:
            proposed = propose(
                jax.random.fold_in(keys["propose"], attempt), budget._replace(**bounds), tried
            )
        except BudgetError:  # shrunk too far, or the hints cannot be kept together
            break
        asked = budget._replace(**bounds)
        if within(problem, proposed, problem.count(proposed)).mean() >= _SHARE:
            break
    return asked


_NEAREST, _SHARE, _SHRINK, _ATTEMPTS = 32, 0.4, 0.7, 10


def default_file() -> Path:
    """The file in the user's cache, or beside temporary files where there is none."""
    return program_folder(Path(tempfile.gettempdir()) / "nasgen", "latency") / "latency.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        entries = None
    if not isinstance(entries, dict):
        raise ValueError(f"the file of latencies must hold a JSON object; got {path}.")
    return entries


def _write(path: Path, entries: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(entries, indent=1))
    os.replace(unfinished, path)
