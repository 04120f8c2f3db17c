"""What `scaling` times, each in processes of its own, so that none starts with what another left:
scoring by one process or several, proposals of a search by their number, and a long process.
"""

import os
import resource
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen import processes
from nasgen.data import load
from nasgen.keys import children
from nasgen.models.accuracy import PREDICTED_ACCURACY, SCORES
from nasgen.networks import fitting
from nasgen.networks.network import Network, init_network
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import distributed
from nasgen.pipeline.environment import changed_variables, release_memory
from nasgen.pipeline.examples import examples_of, made_up_task
from nasgen.pipeline.generators import counted_limits
from nasgen.pipeline.problems import MAX_CHANNELS, make_problem
from nasgen.pretrained.bundle import load_bundle
from nasgen.proxies import PROXIES
from nasgen.proxies.engine import score
from nasgen.spaces import SPACES, graphs
from nasgen.spaces import macro as macro_space
from nasgen.training.recipe import Recipe
from nasgen.training.supervised import train_network
from nasgen.types import Budget

OPEN = SPACES["open"]
_task = partial(made_up_task, name="scaling")
_ONE_CORE = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1", "NPROC": "1"}


def in_processes(work: Callable[..., Any], arguments: list[tuple]) -> list[Any]:
    """`work(*arguments)` of each, at the same time, in new processes of one core each."""
    cached = jax.config.jax_compilation_cache_dir
    with changed_variables(_ONE_CORE):
        with get_context("spawn").Pool(len(arguments), _begin, (cached,)) as pool:
            return pool.starmap(work, arguments, chunksize=1)


def _begin(cached: str | None) -> None:
    jax.config.update("jax_compilation_cache_dir", cached)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


def places(num: int) -> list[distributed.Place | None]:
    """Of so many processes that are to work together; a single one needs none."""
    if num == 1:
        return [None]
    address = f"127.0.0.1:{distributed.free_port()}"
    return [distributed.Place(address, num, index) for index in range(num)]


def scored(config: ConfigDict, place: distributed.Place | None, core: int) -> dict[str, float]:
    """Seconds, of the clock and of this process's core, in which the networks are scored: the least
    of some times, nothing compiling."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})
    if place is not None:
        distributed.join(place, distributed.TOGETHER[0])
    task, keys = _task(config), children(jax.random.key(config.seed), "networks", "batch", "score")
    plans = _networks(config, keys["networks"], config.num_scored)
    batch = examples_of(keys["batch"], task, config.score_batch)
    asked = {name: PROXIES[name] for name in SCORES}
    spent = []
    for _ in range(1 + config.repeats):  # the first compiles
        processes.wait_for_all("start")
        clock, core_clock = time.perf_counter(), time.process_time()
        score(plans, asked, keys["score"], *batch)
        spent.append((time.perf_counter() - clock, time.process_time() - core_clock))
    seconds, core_seconds = np.min(spent[1:], 0)
    return {"seconds": float(seconds), "core_seconds": float(core_seconds)}


def proposed(config: ConfigDict, num: int) -> dict[str, float]:
    """Core-seconds in which a search writes, counts and ranks so many candidates, of which it keeps
    the best, a block at a time; and the most memory of the process, in bytes."""
    task, keys = _task(config), children(jax.random.key(config.seed), "problem", "batch", "draws")
    problem = make_problem(
        keys["problem"],
        load_bundle(config.pretrained),
        task,
        Budget(**config.budget.to_dict()),
        examples_of(keys["batch"], task, config.score_batch),
        fitness=PREDICTED_ACCURACY,
    )
    write, best = problem.generators, np.zeros(0)

    def block(number: int, rows: int) -> np.ndarray:
        found = write.propose(jax.random.fold_in(keys["draws"], number), rows)
        problem.count(found)
        return write.prior(write.features(found))

    block(0, min(config.block, num))  # compiles
    started, done = time.process_time(), 0
    while done < num:
        rows = min(config.block, num - done)
        best = np.sort(np.concatenate([best, block(done, rows)]))[-config.kept :]
        done += rows
    return {"core_seconds": time.process_time() - started, "peak_memory": _peak()}


def soaked(config: ConfigDict) -> dict[str, float]:
    """Memory of a process, in bytes, after a tenth and after all of its scores and of its steps; of
    scores, when it returned what it can, as `kept_search` does from time to time."""
    keys = children(jax.random.key(config.seed), "networks", "batch", "score", "init")
    plans = _networks(config, keys["networks"], config.soak.candidates)
    batch = examples_of(keys["batch"], _task(config), config.score_batch)
    asked, found = {name: PROXIES[name] for name in SCORES}, {}
    ends = {max(len(plans) // 10, 1): "scores/early", len(plans): "scores/late"}
    for number, plan in enumerate(plans, 1):
        score([plan], asked, keys["score"], *batch)
        if number in ends:
            release_memory()
            found[ends[number]] = _memory()
    data = load("digits", seed=0)
    plan = make_plan(_architectures(config, keys["networks"], 1)[0], OPEN.ops, data.task)
    steps, rows = config.soak.steps, []

    def note(row: dict[str, Any]) -> None:
        if row["step"] >= steps / 10:
            rows.append(_memory())

    recipe = Recipe(steps=steps, batch_size=32, checkpoint_every=max(steps // 20, 1))
    with TemporaryDirectory() as folder:
        variables = init_network(keys["init"], plan)
        options = dict(seed=0, workdir=Path(folder), on_metrics=note, label=None)
        train_network(Network(plan), variables, data, recipe, **options)
    return found | {"steps/early": rows[0], "steps/late": rows[-1]}


def _networks(config: ConfigDict, key, num: int) -> list[Plan]:
    return [make_plan(one, OPEN.ops, _task(config)) for one in _architectures(config, key, num)]


def _architectures(config: ConfigDict, key, num: int) -> list:
    """Random ones, their widths fitted to the budget, so that they cost about as much."""
    task = _task(config)
    options = dict(size=task.size, max_channels=MAX_CHANNELS)
    drawn = macro_space.sample_networks(key, num, OPEN, **options)
    macros, cells = [one.macro for one in drawn], [cell for one in drawn for cell in one.cells]
    limits = counted_limits([Budget(**config.budget.to_dict())] * num)
    packed = macro_space.pack(macros), graphs.pack(cells)
    fitted = fitting.fit(*packed, OPEN.ops, [task] * num, limits)
    return macro_space.with_cells(macro_space.unpack(fitted.macros), cells)


def _memory() -> int:
    """What this process holds, in bytes; Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
