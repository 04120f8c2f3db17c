"""How well numeric budgets are met: never exceeded, nearly used up, different networks, fast.

Requests are made-up tasks with a random non-empty subset of the budgets, log-uniform over the
ranges; one network is generated for each. A request below what any network costs is counted apart
(`impossible/...`, by the first bound that says so). `over_budget` counts networks, over all seeds,
whose exact costs break a bound; for a part of them it is counted again on their plans. Of requests
that can be met, `share_using_90_percent` use that much of the tightest bound. Compiling is no part
of `architectures_per_second`; `cpu_seconds_generating` says what all cores together worked, which
other work on the machine changes less. Figures are medians over seeds, with all values and the
interval of the mean.
"""

import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key
from ml_collections import ConfigDict

from nasgen.compile_clock import CLOCK
from nasgen.keys import children, generator
from nasgen.networks import costs, fitting
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import generators, macro_networks
from nasgen.pipeline.config import COMMON, UserError, boolean, check, text, whole, wholes
from nasgen.pipeline.macro_networks import Ranges
from nasgen.pipeline.problems import identity
from nasgen.pipeline.request import pools_of, smallest_networks
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.pretrained.bundle import Bundle, load_bundle
from nasgen.report import budget as report
from nasgen.search.problem import BudgetError, fits
from nasgen.spaces import SPACES
from nasgen.statistics import interval_of_mean
from nasgen.types import Architecture, Budget, Costs, Task

OPEN = SPACES["open"]
RANGES = (*Ranges._fields, "activation_memory")
BOUNDS = ("params", "macs", "activation_memory")
RULES = {
    **COMMON,
    "pretrained": text(),
    "seeds": wholes(0, 2**31),
    "requests": whole(10, 1_000_000),
    "recounted": whole(1),
    **{name: wholes(1, 10**15) for name in RANGES},
    "plots": boolean(),
}
_WARM_UP = (4, 20, 100, 600)  # rows: a call compiles for each size of a chunk


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Measures every seed, writes results.json, report.md and the map. Raises UserError for a
    config that is off and for weights that are not there."""
    check(config, RULES)
    for name in RANGES:
        if len(config[name]) != 2 or config[name][0] > config[name][1]:
            raise UserError(f"`config.{name}` must be the least and the most; got {config[name]}.")
    try:
        bundle = load_bundle(config.pretrained)
    except ValueError as error:
        raise UserError(str(error).replace("`pretrained`", "`config.pretrained`")) from None
    stages = [
        Stage(f"seed_{seed}", (_file(seed),), partial(measure, config, bundle, workdir.path, seed))
        for seed in config.seeds
    ]
    for stage in stages:
        run_stages(workdir, [stage])
    results = collect(config, workdir.path)
    rows = [np.load(workdir.path / _file(seed)) for seed in config.seeds]
    columns = {name: np.concatenate([one[name] for one in rows]) for name in rows[0].files}
    report.write_report(workdir.path, results, columns, figures=config.plots)
    write_results(workdir, results)


def _file(seed: int) -> str:
    return f"requests_{seed}.npz"


def draw_requests(
    key: Key[Array, ""], num: int, config: ConfigDict
) -> tuple[list[Task], list[Budget]]:
    """Tasks, and budgets of any non-empty subset of the bounds."""
    rng = generator(key)
    ranges = macro_networks.ranges_of(config)
    tasks = macro_networks.tasks_of(macro_networks.draw_tasks(rng, num, ranges))
    ends = np.log([config[name] for name in BOUNDS])
    bounds = np.rint(np.exp(rng.uniform(ends[:, 0], ends[:, 1], (num, 3)))).astype(int)
    given = (1 + rng.integers(0, 7, num))[:, None] >> np.arange(3) & 1
    rows = zip(bounds.tolist(), given.tolist(), strict=True)
    budgets = [Budget(*(b if g else None for b, g in zip(*row, strict=True))) for row in rows]
    return tasks, budgets


def measure(config: ConfigDict, bundle: Bundle, folder: Path, seed: int) -> dict[str, Any]:
    """One seed's figures; its requests and what they used go to a file."""
    keys = children(jax.random.key(seed), "requests", "warm", "design", "recount")
    tasks, budgets = draw_requests(keys["requests"], config.requests, config)
    for rows in _WARM_UP:
        generators.design_each(bundle, keys["warm"], tasks[:rows], budgets[:rows], attempts=1)
    started, compiled, count = time.perf_counter(), CLOCK.seconds, CLOCK.count
    worked = time.process_time()
    found, used = generators.design_each(bundle, keys["design"], tasks, budgets)
    made = [i for i, one in enumerate(found) if one is not None]
    networks, own = [found[i] for i in made], [tasks[i] for i in made]
    counted = costs.count_many(networks, OPEN.ops, own)
    compiling = CLOCK.seconds - compiled
    seconds, worked = time.perf_counter() - started - compiling, time.process_time() - worked
    exact = np.stack([getattr(counted, name) for name in BOUNDS], 1)
    limits = generators.counted_limits(budgets)
    over = (exact > limits[made]).any(1)
    rows = generator(keys["recount"]).permutation(len(made))[: config.recounted]
    recounted = [_over(networks[i], own[i], budgets[made[i]]) for i in rows]
    reasons = [_reason(budgets[i], tasks[i]) if one is None else "" for i, one in enumerate(found)]
    can = np.array([reason in ("", "not found") for reason in reasons])
    enough = used >= fitting.ENOUGH
    np.savez(
        folder / _file(seed),
        size=[task.size for task in tasks],
        limits=limits,
        least=np.stack([least_costs(task) for task in tasks]),
        used=used,
        can=can,
    )
    figures = {
        "over_budget": int(over.sum()),
        "recounted": len(recounted),
        "recounted_over_budget": int(np.sum(recounted)),
        "share_using_90_percent": float(enough[can].mean()),
        "share_met": float(np.mean([found[i] is not None for i in np.flatnonzero(can)])),
        "uniqueness": len({identity(one) for one in networks}) / len(networks),
        "architectures_per_second": len(networks) / seconds,
        "seconds_generating": seconds,
        "cpu_seconds_generating": worked,
        "compilations_while_timed": CLOCK.count - count,
        "impossible": int((~can).sum()),
    }
    names = sorted({reason for reason in reasons if reason})
    return figures | {f"impossible/{name}": reasons.count(name) for name in names}


def _over(network: Architecture, task: Task, budget: Budget) -> bool:
    counted = costs.count(make_plan(network, OPEN.ops, task))
    return not fits(Costs(*map(np.atleast_1d, counted)), budget).all()


def _reason(budget: Budget, task: Task) -> str:
    """Which bound nothing can keep, "together" where only all of them, "not found" where one of
    the smallest networks could have."""
    try:
        generators.refuse_impossible(budget, task)
    except BudgetError as error:
        named = [name for name in BOUNDS if f"`budget.{name}` must be at least" in str(error)]
        return "together" if "together" in str(error) else named[0]
    return "not found"


def least_costs(task: Task) -> np.ndarray:
    """The least that a network for the task has of each cost, not all in one network."""
    networks = list(smallest_networks(OPEN, task, pools_of(OPEN)))
    counted = costs.count_many(networks, OPEN.ops, task)
    return np.array([getattr(counted, name).min() for name in BOUNDS])


def collect(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """Medians (counts: sums) over seeds, with all values and the interval of the mean."""
    rows = [read_stage(folder, f"seed_{seed}") for seed in config.seeds]
    results: dict[str, Any] = {"seeds": list(config.seeds), "requests": config.requests}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = np.array([row.get(name, 0) for row in rows], float)
        is_count = all(isinstance(row.get(name, 0), int) for row in rows)
        results[name] = int(values.sum()) if is_count else float(np.median(values))
        results[f"{name}/all"] = [row.get(name, 0) for row in rows]
        if len(rows) > 1 and not is_count:
            results[f"{name}/interval"] = interval_of_mean(values)
    return results
