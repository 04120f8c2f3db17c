"""A design run: task and budget to a trained network that the two generative levels wrote.

    search.json     what nasgen scored, best first last; candidates.npz: everything it proposed
    baselines.json  the same of random search and regularised evolution, at as many exact scores

then training and delivery, see `deliver`.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen.compile_clock import CLOCK
from nasgen.keys import children, generator
from nasgen.networks import costs
from nasgen.networks.latency_model import predict
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import deliver
from nasgen.pipeline.config import UserError
from nasgen.pipeline.generators import design, kept_cells, search_generators
from nasgen.pipeline.latency import implied_budget
from nasgen.pipeline.request import Request
from nasgen.pipeline.stages import Stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_json
from nasgen.proxies import PROXIES
from nasgen.proxies.engine import score
from nasgen.search.baselines import random_search, regularised_evolution
from nasgen.search.generate import generate
from nasgen.search.problem import BudgetError, Found, Problem
from nasgen.spaces import Space, graphs
from nasgen.spaces import macro as macro_space
from nasgen.spaces.formats import architecture_to_json
from nasgen.training.progress import announce, progress
from nasgen.types import Architecture, Budget, Costs

BASELINES = {"random": random_search, "evolution": regularised_evolution}
_MAX_CHANNELS = 256  # of random architectures: the range that pretraining saw, too


def run(config: ConfigDict, workdir: Workdir, request: Request) -> None:
    """All stages of the run for a request, which `load_request` makes of the config."""
    folder = workdir.path
    draws = config.report.plots and find_spec("matplotlib") is not None
    stages = [
        Stage(
            "search", ("search.json", "candidates.npz"), lambda: _search(config, request, folder)
        ),
        Stage("baselines", ("baselines.json",), lambda: _baselines(config, request, folder)),
        Stage(
            "train",
            ("trained.npz", "train"),
            lambda: deliver.train(config, request, folder, key=_keys(config)["training"]),
        ),
        Stage(
            "deliver",
            ("network", "report.md", *(("figures",) if draws else ())),
            lambda: deliver.hand_over(config, request, folder),
        ),
    ]
    run_stages(workdir, stages)
    deliver.finish(workdir, request, [stage.name for stage in stages])
    print(deliver.in_words(folder), flush=True)


def make_problem(request: Request, key, *, fitness: str, batch: int, num_clusters: int) -> Problem:
    """The search problem of a request: the same for nasgen and for the baselines."""
    dataset, space, task = request.dataset, request.space, request.dataset.task
    keys = children(key, "batch", "weights")
    rows = generator(keys["batch"]).choice(len(dataset.train.y), batch, replace=False)
    images, labels = dataset.train.x[rows], dataset.train.y[rows]
    size = min(task.input_shape[:2])

    def sample(sample_key, num: int) -> list[Architecture]:
        parts = children(sample_key, "macros", "cells")
        macros = macro_space.sample(
            parts["macros"], num, num_clusters=num_clusters, size=size, max_channels=_MAX_CHANNELS
        )
        num_cells = sum(len(one.stages) for one in macros)
        return macro_space.with_cells(
            macros, graphs.unpack(space.sample(parts["cells"], num_cells))
        )

    def mutate(mutate_key, architecture: Architecture) -> Architecture:
        parts = children(mutate_key, "kind", "change", "cells")
        rng = generator(parts["kind"])
        if rng.random() < 0.5:  # a cell
            index = int(rng.integers(len(architecture.cells)))
            cell = space.mutate(parts["change"], architecture.cells[index])
            cells = architecture.cells[:index] + (cell,) + architecture.cells[index + 1 :]
            return architecture._replace(cells=cells)
        macro = macro_space.mutate(
            parts["change"], architecture.macro, num_clusters=num_clusters, size=size
        )
        kept = kept_cells(architecture, macro)
        fresh = iter(graphs.unpack(space.sample(parts["cells"], kept.count(None))))
        return Architecture(macro, tuple(next(fresh) if cell is None else cell for cell in kept))

    def count(architectures: Sequence[Architecture]) -> Costs:
        return costs.count_many(architectures, space.ops, task)

    def score_all(architectures: Sequence[Architecture]) -> np.ndarray:
        plans = [make_plan(one, space.ops, task) for one in architectures]
        proxies = {fitness: PROXIES[fitness]}
        return score(plans, proxies, keys["weights"], images, labels).values[fitness]

    def latency(architectures: Sequence[Architecture]) -> np.ndarray:
        return predict(request.latency, [make_plan(one, space.ops, task) for one in architectures])

    predicts = latency if request.latency else None
    return Problem(sample, mutate, count, score_all, identity, request.budget, predicts)


def identity(architecture: Architecture) -> bytes:
    """Equal for architectures that build the same network, whatever clusters and node order."""
    stages = [stage[1:] for stage in architecture.macro.stages]
    keys = graphs.canonical_keys(graphs.pack(architecture.cells))
    return str((stages, architecture.macro.final_width)).encode() + b"".join(keys)


def _keys(config: ConfigDict) -> dict[str, Any]:
    return children(jax.random.key(config.seed), "problem", "search", *BASELINES, "training")


def _problem(config: ConfigDict, request: Request) -> Problem:
    return make_problem(
        request,
        _keys(config)["problem"],
        fitness=config.design.fitness,
        batch=config.design.score_batch,
        num_clusters=request.bundle.macro_config.vocabulary.num_clusters,
    )


def _search(config: ConfigDict, request: Request, folder: Path) -> dict[str, Any]:
    """nasgen's own search."""
    settings, task = config.design, request.dataset.task
    problem, key = _problem(config, request), _keys(config)["search"]

    def propose(propose_key, budget: Budget, num: int) -> list[Architecture]:
        return design(request.bundle, propose_key, task, budget, num)

    generators = search_generators(
        request.bundle,
        request.space,
        task,
        implied_budget(jax.random.fold_in(key, 2**31), problem, propose),
        cells_per_macro=settings.cells_per_macro,
        fitness=settings.fitness,
    )
    try:
        with progress(settings.num_exact, label="nasgen: exact scores") as report:
            found, candidates = generate(
                key,
                problem,
                generators,
                settings.num_exact,
                num_proposals=settings.num_macros * settings.cells_per_macro,
                rounds=settings.rounds,
                on_scored=lambda done: report(done, ""),
            )
    except BudgetError as error:
        raise UserError(str(error)) from None
    arrays = {name: np.array(column) for name, column in candidates._asdict().items()}
    np.savez(folder / "candidates.npz", **arrays)
    write_json(folder / "search.json", found_to_json(found, problem, request.space))
    inside = arrays["inside"]
    announce("search", f"{inside.sum()} of {len(inside)} generated networks keep the budget")
    first = arrays["round"] == 0
    return {
        "num_proposed": len(inside),
        "num_inside": int(inside.sum()),
        "share_inside_first_round": float(inside[first].mean()),
        "num_exact": len(found.scores),
        "num_not_finite": int((~np.isfinite(found.scores)).sum()),
    }


def found_to_json(found: Found, problem: Problem, space: Space) -> dict[str, Any]:
    """What a method found, for its file: networks in the order scored, with scores and costs."""
    counted = problem.count(found.architectures)
    return {
        "architectures": [architecture_to_json(one, space) for one in found.architectures],
        "scores": found.scores,
        "params": counted.params,
        "macs": counted.macs,
        "seconds": found.seconds,
    }


def _baselines(config: ConfigDict, request: Request, folder: Path) -> dict[str, Any]:
    """Random search and evolution, each with as many exact scores as nasgen had. One that finds
    no network within the budget says so and is left out."""
    settings, problem = config.design, _problem(config, request)
    found = {}
    for name in settings.baselines:
        method: Callable[..., Found] = BASELINES[name]
        compiled = CLOCK.seconds
        try:
            with progress(settings.num_exact, label=f"{name}: exact scores") as report:
                result = method(
                    _keys(config)[name],
                    problem,
                    settings.num_exact,
                    on_scored=lambda done, report=report: report(done, ""),
                )
        except BudgetError as error:
            announce(name, f"left out: {error}")
            continue
        found[name] = found_to_json(result, problem, request.space)
        found[name]["seconds_compile"] = CLOCK.seconds - compiled
    write_json(folder / "baselines.json", found)
    return {}
