"""How many exact scores each search needs: same space, fitness, budget, counting, key by key.

A seed is a search problem: its images, its draw of weights; every method gets the same one and is
charged for exact scores alone. `METHOD/best_score_at/EVALUATIONS` is the best fitness after so
many, `evaluations_to_match_evolution_N` how many `generate` needs to reach what evolution has after
all its N, seed by seed (null where it never does). Medians over seeds; `/all` lists them,
`/interval` is the bootstrap's. Seconds are without compiling, null where a search was
interrupted.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen import pretrained
from nasgen.compile_clock import CLOCK
from nasgen.keys import children
from nasgen.pipeline.config import (
    COMMON,
    MADE_UP,
    METHODS,
    SEARCHES,
    UserError,
    boolean,
    check,
    nearest,
    text,
    whole,
    wholes,
)
from nasgen.pipeline.examples import examples_of, made_up_task
from nasgen.pipeline.kept_search import found_scores, found_to_json, journal_file, kept_search
from nasgen.pipeline.problems import make_problem
from nasgen.pipeline.request import check_budget
from nasgen.pipeline.stages import Stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_json, write_results
from nasgen.pretrained.bundle import load_bundle
from nasgen.proxies import PROXIES, Ensemble
from nasgen.report import search as report
from nasgen.search.methods import configured
from nasgen.search.pareto import hypervolume, objectives, pareto_set
from nasgen.search.problem import BudgetError, Problem
from nasgen.spaces import SPACES
from nasgen.statistics import median_with_interval
from nasgen.types import Budget

OURS, MARK = "generate", "evolution"
RULES = {
    **COMMON,
    **METHODS,
    **MADE_UP,
    "methods.generate.proposals": whole(1, 1_000_000),
    "pretrained": text(),
    "fitness": text(),
    "batch": whole(2, 4096),
    "seeds": wholes(0, 2**31),
    **{f"evaluations.{name}": whole(0, 1_000_000) for name in SEARCHES},
    "marks": wholes(1, 1_000_000),
    "plots": boolean(),
}


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Searches, seed by seed, then writes results.json, report.md and the pictures. Raises
    UserError for a config that is off."""
    check(config, RULES)
    task = made_up_task(config, "bench")
    budget = Budget(**config.budget.to_dict())
    if config.fitness not in PROXIES:
        raise UserError(
            f"`config.fitness` must be one of {sorted(PROXIES)}; "
            f"got {config.fitness!r}{nearest(config.fitness, PROXIES)}"
        )
    if isinstance(PROXIES[config.fitness], Ensemble):
        raise UserError(
            f"`config.fitness` must not be {config.fitness}: its scores are ranks among what one "
            "method has scored, so that methods cannot be compared."
        )
    try:
        pretrained.find(config.pretrained, "macro")
        check_budget(budget, SPACES[pretrained.space_of(config.pretrained, "cells")], task)
        bundle = load_bundle(config.pretrained)
    except ValueError as error:
        raise UserError(str(error)) from None
    stages = []
    for seed in config.seeds:
        keys = children(jax.random.key(seed), "problem", "batch", "search")
        batch = examples_of(keys["batch"], task, config.batch)
        problem = make_problem(
            *(keys["problem"], bundle, task, budget, batch), fitness=config.fitness
        )
        for name in methods(config):
            key = jax.random.fold_in(keys["search"], SEARCHES.index(name))
            work = partial(_search, config, workdir, name, seed, problem, key)
            stages.append(Stage(f"{name}_{seed}", (_file(name, seed),), work))
    for stage in stages:
        run_stages(workdir, [stage])
    found = {n: [_read(workdir.path, n, s) for s in config.seeds] for n in methods(config)}
    results = collect(config, found)
    report.write_report(workdir.path, results, found, config.fitness, figures=config.plots)
    write_results(workdir, results)


def methods(config: ConfigDict) -> list[str]:
    """The methods that are to run."""
    return [name for name in SEARCHES if config.evaluations[name]]


def _search(
    config: ConfigDict, workdir: Workdir, name: str, seed: int, problem: Problem, key
) -> None:
    method, compiled = configured(name, config.methods.to_dict()), CLOCK.seconds
    resumed = journal_file(workdir, f"{name}_{seed}").exists()
    space = SPACES[pretrained.space_of(config.pretrained, "cells")]
    try:
        state = kept_search(
            *(workdir, f"{name}_{seed}", key, method, problem, config.evaluations[name]),
            space=space,
        )
    except BudgetError as error:
        raise UserError(f"{name}: {error}") from None
    found = found_to_json(state, problem, space)
    (workdir.path / "found").mkdir(exist_ok=True)
    # of a search that was interrupted nobody knows how long compiling took
    seconds = {"seconds_compile": None if resumed else CLOCK.seconds - compiled}
    write_json(workdir.path / _file(name, seed), {**found, **seconds})


def _file(name: str, seed: int) -> str:
    return f"found/{name}_{seed}.json"


def _read(folder: Path, name: str, seed: int) -> dict[str, Any]:
    """What a method found, arrays by name, with its `curve`: the best score after each."""
    found = json.loads((folder / _file(name, seed)).read_text())
    scores, compiling = found_scores(found), found["seconds_compile"]
    return {
        "scores": scores,
        "curve": np.maximum.accumulate(scores),
        "params": np.array(found["params"]),
        "macs": np.array(found["macs"]),
        "seconds": np.inf if compiling is None else found["seconds"] - compiling,
    }


def collect(config: ConfigDict, found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """All figures, flat."""
    results: dict[str, Any] = {"seeds": list(config.seeds)}
    note = partial(note_median, results)
    if OURS in found and MARK in found:
        pairs = zip(found[OURS], found[MARK], strict=True)
        reached = [first_at_least(ours["curve"], mark["curve"][-1]) for ours, mark in pairs]
        note(f"evaluations_to_match_evolution_{config.evaluations[MARK]}", reached)
    volumes = hypervolumes(config, found)
    for name, rows in found.items():
        for mark in config.marks:
            if mark <= min(len(row["curve"]) for row in rows):
                note(f"{name}/best_score_at/{mark}", [row["curve"][mark - 1] for row in rows])
        note(f"{name}/hypervolume", volumes[name])
        seconds = [row["seconds"] for row in rows]
        note(f"{name}/seconds", seconds if np.isfinite(seconds).all() else [np.inf] * len(rows))
        results[f"{name}/evaluations"] = min(len(row["curve"]) for row in rows)
    return results


def note_median(results: dict[str, Any], name: str, values: list[float]) -> None:
    """Adds a figure: the median over seeds, its `/interval`, and `/all` values."""
    median, interval = median_with_interval(np.random.default_rng(0), values)
    results |= {name: median, f"{name}/interval": list(interval), f"{name}/all": values}


def first_at_least(curve: np.ndarray, mark: float) -> float:
    """Evaluations until the curve reaches the mark; infinite where it does not."""
    reached = np.flatnonzero(curve >= mark)
    return float(reached[0] + 1) if len(reached) else np.inf


def front(row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Objectives to minimise of all that a method scored, and which of them are in its set."""
    points = objectives(row["scores"], row["params"], row["macs"])
    return points, pareto_set(points)


def cut(row: dict[str, Any], num: int) -> dict[str, Any]:
    """The first scores that a method asked."""
    return row | {name: row[name][:num] for name in ("scores", "params", "macs")}


def hypervolumes(config: ConfigDict, found: dict[str, list[dict]]) -> dict[str, list[float]]:
    """Of each method and seed: the share that its networks, of the first scores that all methods
    have, dominate of the box from the budget at fitness 0, or the least found if that is below, to
    no costs at the best fitness that any method found for this seed."""
    volumes: dict[str, list[float]] = {name: [] for name in found}
    for index in range(len(config.seeds)):
        same = min(len(rows[index]["scores"]) for rows in found.values())
        scored = {name: cut(rows[index], same) for name, rows in found.items()}
        scores = np.concatenate([row["scores"] for row in scored.values()])
        scores = scores[np.isfinite(scores)]
        most, least = scores.max(initial=0.0), scores.min(initial=0.0)
        worst = np.array([-least, config.budget.params, config.budget.macs])
        for name, row in scored.items():
            points = front(row)[0]
            volumes[name].append(hypervolume(points, worst, np.array([-most, 0.0, 0.0])))
    return volumes
