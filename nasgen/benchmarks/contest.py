"""Networks of one budget, found by each method or made by hand, trained by one short recipe and
judged on the test images.

Within a seed every method has the same images and weights of a score, the same budget and as many
exact scores. A network of seed `s` is trained `num_trainings` times, by the seeds that all networks
of `s` are trained by, so that differences are taken pair by pair; networks by hand are trained as
often as the found ones.

    contest/found/NAME_SEED.json   the network that a method found, and its fitness
    contest/parts                  a file for each training, see `fitness_training`
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from nasgen import pretrained, published
from nasgen.data.task import Dataset
from nasgen.keys import children
from nasgen.models.accuracy import PREDICTED_ACCURACY
from nasgen.networks.costs import count
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import fitness_training
from nasgen.pipeline.config import Rule, UserError, boolean, number, text, whole, wholes
from nasgen.pipeline.examples import examples_of
from nasgen.pipeline.kept_search import kept_search
from nasgen.pipeline.problems import make_problem
from nasgen.pipeline.stages import Stage, run_stages
from nasgen.pipeline.workdir import Workdir, forget_stage, write_json
from nasgen.pretrained.bundle import Bundle, load_accuracy, load_bundle
from nasgen.published import handmade
from nasgen.search.draws import draw_within
from nasgen.search.methods import configured
from nasgen.search.problem import BudgetError, Problem
from nasgen.search.state import scores
from nasgen.spaces import SPACES
from nasgen.spaces.formats import architecture_from_json, architecture_to_json
from nasgen.training.brief import BriefRecipe
from nasgen.training.progress import announce
from nasgen.types import Architecture, Budget, Costs, Task

OPEN = SPACES["open"]
FOLDER = "contest"
RECIPE = ("steps", "batch_size", "learning_rate", "warmup", "max_shift", "flip")
_PROXIES = ("t_cet", "nwot", "zico", "az_nas", "synflow", "params", "macs")


class Entrant(NamedTuple):
    """search: a method of `search.methods`; None takes one network drawn within the budget.
    fitness: what it maximises. cells: their source, see `bundle.CellBundle`."""

    search: str | None = "generate"
    fitness: str = PREDICTED_ACCURACY
    cells: str = "flow"


# Keys follow from the place in here: new ones go to the end.
ENTRANTS: dict[str, Entrant] = {
    "random": Entrant(None),
    "random_search": Entrant("random"),
    "evolution": Entrant("evolution"),
    "nasgen": Entrant(),
    "hl_evo": Entrant("paper"),
    "hl_evo_t_cet": Entrant("paper", "t_cet"),
    "cells_only": Entrant("cells_only"),
    "macro_only": Entrant("macro_only"),
    "nasgen_prior_cells": Entrant(cells="prior"),
    "nasgen_sampler_cells": Entrant(cells="sampler"),
    **{f"nasgen_{name}": Entrant(fitness=name) for name in _PROXIES},
}
# The authors' best network for CIFAR keeps its size to the end; no width of it fits a small budget.
# So its stages halve the image as those of their first macro architecture do.
PAPER = "hgen_cifar_1m"
BY_HAND = (*handmade.FAMILIES, PAPER)


class Found(NamedTuple):
    """A network and what came of its trainings.

    fitness: that its method saw; None by hand. seed: of the search. accuracies: on the test images,
    after each of the recipe's steps; chance where a training diverged. cpu_seconds: of the
    trainings, compiling included."""

    name: str
    seed: int
    architecture: Architecture
    fitness: float | None
    accuracies: Float[np.ndarray, "trainings evaluations"]
    costs: Costs
    num_diverged: int
    cpu_seconds: float


def rules(prefix: str = "") -> dict[str, Rule]:
    """The rules of a contest's settings, below a group of that name."""
    found = {
        "num_seeds": whole(0, 1000),
        "num_trainings": whole(1, 1000),
        "pretrained": text(),
        "accuracy": text(),
        "num_exact": whole(4, 100_000),
        "num_proposals": whole(4, 1_000_000),
        "score_batch": whole(2, 4096),
        "num_train": whole(16),
        "num_test": whole(16),
        "steps": wholes(1, 1_000_000),
        "batch_size": whole(2, 65_536),
        "learning_rate": number(0, above=True),
        "warmup": whole(1),
        "max_shift": whole(0, 512),
        "flip": boolean(),
        "workers": whole(1, 1024),
    }
    return {f"{prefix}{name}": rule for name, rule in found.items()}


def check_settings(settings: ConfigDict, group: str = "config") -> None:
    """Raises UserError where settings do not go together."""
    if list(settings.steps) != sorted(set(settings.steps)):
        raise UserError(f"`{group}.steps` must ascend; got {tuple(settings.steps)}.")
    if settings.score_batch > settings.num_train:
        raise UserError(
            f"`{group}.score_batch` must be at most `num_train` = {settings.num_train}; "
            f"got {settings.score_batch}."
        )


def load(settings: ConfigDict) -> Bundle:
    """The generators with the predictor of accuracy. Raises UserError where they are not there."""
    try:
        pretrained.find(settings.pretrained, "macro")
        pretrained.find(settings.accuracy, "accuracy")
        bundle = load_bundle(settings.pretrained)
        return bundle._replace(accuracy=load_accuracy(settings.accuracy))
    except ValueError as error:
        raise UserError(str(error)) from None


def by_hand(name: str, budget: Budget, task: Task) -> Architecture:
    """The largest network of that name (of `BY_HAND`) within the budget. Raises ValueError where
    there is none."""
    if name in handmade.FAMILIES:
        return handmade.scaled_to(name, budget, task)
    start = published.architecture_of(name)
    strides = (2 if 0 < i <= 3 else 1 for i in range(len(start.macro.stages)))
    stages = (s._replace(stride=n) for s, n in zip(start.macro.stages, strides, strict=True))
    start = start._replace(macro=start.macro._replace(stages=tuple(stages)))
    return handmade.fitted_to(start, budget, task, name=name)


def hold(
    settings: ConfigDict,
    workdir: Workdir,
    dataset: Dataset,
    budget: Budget,
    bundle: Bundle,
    *,
    entrants: Sequence[str],
    families: Sequence[str] = (),
    groups: Mapping[str, Mapping[str, Any]],
) -> list[Found]:
    """Searches, stage by stage, then trains. groups: settings of the methods, see `configured`;
    the number of nasgen's proposals is the contest's own.

    Raises UserError where there are fewer training examples than a score takes, a method finds
    nothing, or no network by hand fits."""
    if len(dataset.train.y) < settings.score_batch:
        raise UserError(
            f"`score_batch` must be at most the {len(dataset.train.y)} training examples of "
            f"{dataset.task.name}; got {settings.score_batch}."
        )
    folder = workdir.path / FOLDER
    (folder / "found").mkdir(parents=True, exist_ok=True)
    try:
        made = {name: by_hand(name, budget, dataset.task) for name in families}
    except ValueError as error:
        raise UserError(str(error)) from None
    generate = {**groups.get("generate", {}), "proposals": settings.num_proposals}
    groups = {**groups, "generate": generate}
    for seed in range(settings.num_seeds):
        for name in entrants:
            work = partial(
                _search, settings, workdir, dataset, budget, bundle, name, seed, groups=groups
            )
            file = f"{FOLDER}/found/{name}_{seed}.json"
            run_stages(workdir, [Stage(f"{name}_{seed}", (file,), work)])
    networks = []
    for seed in range(settings.num_seeds):
        for name in entrants:
            found = json.loads((folder / "found" / f"{name}_{seed}.json").read_text())
            networks.append({"name": name, "seed": seed, **found})
        for name, one in made.items():
            written = architecture_to_json(one, OPEN)
            networks.append({"name": name, "seed": seed, "architecture": written, "fitness": None})
    rows = [row for one in networks for row in _rows(settings, dataset.task, one)]

    def train() -> None:
        judged = Dataset(dataset.task, dataset.train, dataset.test, dataset.test, None, None)
        fitness_training.save_data(folder, judged, settings.num_train, settings.num_test)
        fitness_training.train_all(folder, rows, workers=settings.workers)

    if not all(fitness_training.is_trained(folder, i, row) for i, row in enumerate(rows)):
        forget_stage(workdir, "trainings")  # a search found another network than before
    run_stages(workdir, [Stage("trainings", (f"{FOLDER}/parts",), train)])
    each = settings.num_trainings
    return [
        _found(folder, dataset.task, one, range(i * each, (i + 1) * each))
        for i, one in enumerate(networks)
    ]


def _rows(settings: ConfigDict, task: Task, network: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trainings of a network, see `fitness_training.train_one`."""
    recipe = {name: settings[name] for name in RECIPE}
    recipe = BriefRecipe(**{**recipe, "steps": tuple(recipe["steps"])})._asdict()
    return [
        {
            "task": task._asdict(),
            "architecture": network["architecture"],
            "recipe": recipe,
            "seed": network["seed"] * settings.num_trainings + training,
            "score_batch": settings.score_batch,
            "proxies": [],
        }
        for training in range(settings.num_trainings)
    ]


def _found(folder: Path, task: Task, network: Mapping[str, Any], places: Sequence[int]) -> Found:
    parts = [fitness_training.read_part(folder, place) for place in places]
    accuracies = np.array([part["accuracies"] for part in parts])
    architecture = architecture_from_json(network["architecture"], OPEN)
    costs = count(make_plan(architecture, OPEN.ops, task))
    return Found(
        network["name"],
        network["seed"],
        architecture,
        network["fitness"],
        np.where(np.isnan(accuracies), 1 / task.num_classes, accuracies),
        costs,
        int(np.isnan(accuracies[:, -1]).sum()),
        sum(sum(part["cpu_seconds"].values()) for part in parts),
    )


def _search(settings, workdir, dataset, budget, bundle, name: str, seed: int, *, groups) -> None:
    """One method's network of one seed, in its file."""
    entrant = ENTRANTS[name]
    keys = children(jax.random.key(seed), "problem", "batch", *ENTRANTS)
    problem = _problem(entrant, settings, dataset, budget, bundle, keys)
    try:
        kept = workdir, f"{name}_{seed}"
        one, fitness = _find(entrant, settings, problem, keys[name], groups, kept=kept)
    except BudgetError as error:
        raise UserError(f"{name}: {error}") from None
    announce(f"seed {seed}", f"{name} found a network of {entrant.fitness} {fitness:.4g}")
    found = {"architecture": architecture_to_json(one, OPEN), "fitness": fitness}
    write_json(workdir.path / FOLDER / "found" / f"{name}_{seed}.json", found)


def _problem(
    entrant: Entrant, settings, dataset: Dataset, budget: Budget, bundle: Bundle, keys
) -> Problem:
    batch = examples_of(keys["batch"], dataset, settings.score_batch)
    bundle = bundle._replace(cells=bundle.cells._replace(source=entrant.cells))
    options = dict(fitness=entrant.fitness, steps=settings.steps[-1], cells_per_macro=1)
    return make_problem(keys["problem"], bundle, dataset.task, budget, batch, **options)


def _find(
    entrant: Entrant,
    settings,
    problem: Problem,
    key: Key[Array, ""],
    groups,
    *,
    kept: tuple[Workdir, str],
) -> tuple[Architecture, float]:
    """What a method finds, and its fitness. kept: where its search is, and its name there."""
    if entrant.search is None:
        (one,) = draw_within(key, problem, 1)
        return one, float(problem.combine(problem.measure([one]))[0])
    method = configured(entrant.search, groups)
    state = kept_search(*kept, key, method, problem, settings.num_exact, space=OPEN)
    fitness = scores(state, problem)
    best = int(np.argmax(fitness))
    return state.architectures[best], float(fitness[best])
