"""A design run: task and budget to a trained network that the two generative levels wrote.

    task.json       the task, and what its data are, see `task_data`
    search.json     what nasgen scored, best first last; candidates.npz: everything it proposed
    baselines.json  the same of other methods, at as many exact scores
    finalists.json  who was trained briefly, and how well, see `finalists`
    metric_map.npz  where the cells lie in the metric space, see `metric_map`
    searches/       where each search stands, see `kept_search`

then training and delivery, see `deliver`.
"""

import json
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key
from ml_collections import ConfigDict

from nasgen import processes
from nasgen.compile_clock import CLOCK
from nasgen.keys import children
from nasgen.pipeline import deliver, finalists, metric_map, trained
from nasgen.pipeline.config import SEARCHES, UserError
from nasgen.pipeline.examples import examples_of
from nasgen.pipeline.kept_search import found_scores, found_to_json, kept_search
from nasgen.pipeline.problems import make_problem
from nasgen.pipeline.request import Request
from nasgen.pipeline.stages import Stage, run_stages
from nasgen.pipeline.task_data import keep_task
from nasgen.pipeline.workdir import Workdir, save_arrays, write_json, write_results
from nasgen.search.methods import configured
from nasgen.search.problem import BudgetError, Problem
from nasgen.search.state import SearchState, scores
from nasgen.spaces.formats import architecture_from_json
from nasgen.training.progress import announce


def run(config: ConfigDict, workdir: Workdir, request: Request) -> None:
    """All stages of the run for a request, which `load_request` makes of the config."""
    stages = stages_of(config, workdir, request)
    keep_task(request.dataset, workdir.path)
    run_stages(workdir, stages)
    if not processes.is_first():
        return
    names = [stage.name for stage in stages]
    write_results(workdir, deliver.results(config, workdir.path, request, names))
    print(deliver.in_words(workdir.path), flush=True)


def stages_of(config: ConfigDict, workdir: Workdir, request: Request) -> list[Stage]:
    """From the search to what is handed over."""
    folder = workdir.path
    draws = config.report.plots and find_spec("matplotlib") is not None
    stages = [
        Stage(
            "search",
            ("search.json", "candidates.npz"),
            lambda: _search(config, request, workdir),
            together=True,
        ),
        Stage(
            "baselines",
            ("baselines.json",),
            lambda: _baselines(config, request, workdir),
            together=True,
        ),
    ]
    if config.design.finalists:
        halve = partial(_finalists, config, request, folder)
        stages.append(Stage("finalists", (finalists.FILE,), halve, together=True))
    stages += [
        Stage("metric_map", (metric_map.FILE,), lambda: _map(config, request, folder)),
        Stage(
            "train",
            ("trained.npz", "train"),
            lambda: deliver.train(config, request, folder, key=training_key(config)),
            together=True,
        ),
        Stage(
            "deliver",
            ("network", *trained.KEPT, "report.md", *(("figures",) if draws else ())),
            lambda: deliver.hand_over(config, request, folder),
        ),
    ]
    return stages


def training_key(config: ConfigDict) -> Key[Array, ""]:
    """What the winner's initialisation, batches and augmentation are drawn from."""
    return _keys(config)["training"]


def _keys(config: ConfigDict) -> dict[str, Any]:
    names = ("problem", "batch", "search", "training", *SEARCHES, "finalists", "map")
    return children(jax.random.key(config.seed), *names)


def _problem(config: ConfigDict, request: Request) -> Problem:
    """The search problem: the same for nasgen and for the baselines."""
    settings, keys = config.design, _keys(config)
    return make_problem(
        keys["problem"],
        request.bundle,
        request.dataset.task,
        request.budget,
        examples_of(keys["batch"], request.dataset, settings.score_batch),
        fitness=settings.fitness,
        steps=config.train.steps,
        latency=request.latency,
        cells_per_macro=settings.cells_per_macro,
    )


def method_settings(config: ConfigDict) -> Mapping[str, Mapping[str, int]]:
    """The settings of the methods, by name."""
    proposals = {"proposals": config.design.num_macros * config.design.cells_per_macro}
    groups = config.methods.to_dict()
    return {**groups, "generate": {**groups["generate"], **proposals}}


def _search(config: ConfigDict, request: Request, workdir: Workdir) -> dict[str, Any]:
    """nasgen's own search."""
    settings, problem = config.design, _problem(config, request)
    method = configured(settings.method, method_settings(config))
    try:
        state = kept_search(
            workdir,
            "nasgen",
            _keys(config)["search"],
            method,
            problem,
            settings.num_exact,
            space=request.space,
        )
    except BudgetError as error:
        raise UserError(str(error)) from None
    noted = _noted(state)
    save_arrays(workdir.path / "candidates.npz", **noted)
    write_json(workdir.path / "search.json", found_to_json(state, problem, request.space))
    inside, first = noted["inside"], noted["fresh"] & (noted["round"] == 0)
    announce("search", f"{inside.sum()} of {len(inside)} generated networks keep the budget")
    return {
        "num_proposed": len(inside),
        "num_inside": int(inside.sum()),
        "share_inside_first_round": float(inside[first].mean()) if first.any() else None,
        "num_exact": state.evaluations,
        "num_not_finite": int((~np.isfinite(scores(state, problem))).sum()),
    }


def _noted(state: SearchState) -> dict[str, np.ndarray]:
    """What was proposed; of a method that proposes nothing, what it scored."""
    columns = state.proposed._asdict()
    if len(state.proposed.params):
        return columns
    yes, zeros = np.ones(state.evaluations, bool), np.zeros(state.evaluations, np.int64)
    return {
        "params": state.costs.params,
        "macs": state.costs.macs,
        "inside": yes,
        "fresh": ~yes,
        "round": zeros,
    }


def _baselines(config: ConfigDict, request: Request, workdir: Workdir) -> dict[str, Any]:
    """Other methods, each with as many exact scores as nasgen had. One that finds no network within
    the budget says so and is left out."""
    settings, problem, found = config.design, _problem(config, request), {}
    for name in settings.baselines:
        method, compiled = configured(name, method_settings(config)), CLOCK.seconds
        try:
            state = kept_search(
                *(workdir, name, _keys(config)[name], method, problem, settings.num_exact),
                space=request.space,
            )
        except BudgetError as error:
            announce(name, f"left out: {error}")
            continue
        found[name] = found_to_json(state, problem, request.space)
        found[name]["seconds_compile"] = CLOCK.seconds - compiled
    write_json(workdir.path / "baselines.json", found)
    return {}


def _map(config: ConfigDict, request: Request, folder: Path) -> None:
    """The winner's cells, and those of the networks that were scored best, on a map."""
    found = json.loads((folder / "search.json").read_text())
    metric_map.map_cells(
        _keys(config)["map"],
        request.bundle.cells,
        [architecture_from_json(one, request.space) for one in found["architectures"]],
        np.argsort(-found_scores(found), kind="stable").tolist(),
        deliver.winner(config, request, folder).architecture,
        folder,
    )


def _finalists(config: ConfigDict, request: Request, folder: Path) -> dict[str, Any]:
    """The best of the search, trained briefly and halved."""
    return finalists.train_finalists(
        config,
        request.dataset,
        _problem(config, request),
        request.space,
        folder,
        key=_keys(config)["finalists"],
    )
