"""The search problem of a task and budget, in the space and with the generators of a bundle: the
same for every method.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Key

from nasgen.data.task import Split
from nasgen.keys import children, generator
from nasgen.models import mixture
from nasgen.models.accuracy import PREDICTED_ACCURACY, SCORES, Accuracy
from nasgen.networks import costs, fitting
from nasgen.networks.latency_model import Predictor, predict
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.cell_generator import neighbours, write_cells
from nasgen.pipeline.fitness import STEPS, accuracies_by_scores, accuracy_scores, needed
from nasgen.pipeline.generators import (
    Ranker,
    counted_limits,
    design,
    kept_cells,
    ranker_of,
    search_generators,
    write_macros,
)
from nasgen.pipeline.latency import implied_budget
from nasgen.pretrained.bundle import Bundle
from nasgen.proxies import PROXIES, Ensemble
from nasgen.proxies.engine import combined, score
from nasgen.search.problem import Generators, Moves, Parts, Problem, first_part
from nasgen.spaces import SPACES, graphs
from nasgen.spaces import macro as macro_space
from nasgen.types import Architecture, Budget, Cell, Costs, MacroArchitecture, Stage, Task

MAX_CHANNELS = 256  # of random architectures: the range that pretraining saw, too
_START = (8, 16, 32, 64)  # channels of the paper's first macro architecture
_START_FINAL = 128

UserFitness = Callable[[Sequence[Architecture]], Float[np.ndarray, " architectures"]]


class Fitness(NamedTuple):
    """What is maximised; fields as in `Problem`."""

    names: tuple[str, ...]
    measure: Callable[[Sequence[Architecture]], Parts]
    combine: Callable[[Parts], Float[np.ndarray, " architectures"]]


def make_fitness(
    key: Key[Array, ""],
    fitness: str | UserFitness,
    task: Task,
    batch: Split,
    *,
    space: str,
    accuracy: Accuracy | None = None,
    steps: int = STEPS,
) -> Fitness:
    """A proxy or ensemble by name, with weights drawn from `key`; `predicted_accuracy` after so
    many steps of training, by the predictors `accuracy`; or a function of architectures.

    Raises ValueError for an unknown name, and for the accuracy without predictors."""
    if not isinstance(fitness, str):

        def measure(architectures: Sequence[Architecture]) -> Parts:
            return np.asarray(fitness(architectures), np.float64).reshape(-1, 1)

        return Fitness(("fitness",), measure, first_part)
    ops = SPACES[space].ops
    if fitness == PREDICTED_ACCURACY:
        predictor = needed(accuracy).scored

        def predicted(architectures: Sequence[Architecture]) -> Parts:
            plans = [make_plan(one, ops, task) for one in architectures]
            scores = accuracy_scores(plans, task, *batch, key)
            found = accuracies_by_scores(predictor, plans, scores, len(batch.x), (steps,))
            return np.column_stack([found, *(scores[name] for name in SCORES)])

        return Fitness((fitness, *SCORES), predicted, first_part)
    if fitness not in PROXIES:
        known = sorted([*PROXIES, PREDICTED_ACCURACY])
        raise ValueError(f"`fitness` must be one of {known}; got {fitness!r}.")
    proxy = PROXIES[fitness]
    names = tuple(getattr(proxy, "parts", (fitness,)))
    proxies = {name: PROXIES[name] for name in names}

    def measure(architectures: Sequence[Architecture]) -> Parts:
        plans = [make_plan(one, ops, task) for one in architectures]
        values = score(plans, proxies, key, *batch).values
        return np.stack([values[name] for name in names], 1)

    if not isinstance(proxy, Ensemble):
        return Fitness(names, measure, first_part)

    def combine(parts: Parts) -> np.ndarray:
        return combined(proxy, dict(zip(names, parts.T, strict=True)))

    return Fitness(names, measure, combine)


def make_problem(
    key: Key[Array, ""],
    bundle: Bundle,
    task: Task,
    budget: Budget,
    batch: Split,
    *,
    fitness: str | UserFitness,
    steps: int = STEPS,
    latency: Predictor | None = None,
    cells_per_macro: int = 4,
) -> Problem:
    """The problem, with everything that any method asks for. steps: of the training that
    `predicted_accuracy` is to foretell. latency: where the budget bounds it.

    Raises ValueError for an unknown fitness."""
    keys, space = children(key, "weights", "implied"), SPACES[bundle.cells.space]
    learned = dict(accuracy=bundle.accuracy, steps=steps)
    goal = make_fitness(keys["weights"], fitness, task, batch, space=space.name, **learned)
    moves = _moves(bundle, task)

    def sample(sample_key, num: int) -> list[Architecture]:
        return macro_space.sample_networks(
            sample_key,
            num,
            space,
            num_clusters=bundle.macro_config.vocabulary.num_clusters,
            size=task.size,
            max_channels=MAX_CHANNELS,
        )

    def mutate(mutate_key, architecture: Architecture) -> Architecture:
        parts = children(mutate_key, "kind", "change", "cells")
        rng = generator(parts["kind"])
        if rng.random() < 0.5:  # a cell
            index = int(rng.integers(len(architecture.cells)))
            cell = moves.edit_cell(parts["change"], architecture.cells[index])
            return macro_space.with_cell(architecture, index, cell)
        macro, kept = moves.edit_macro(parts["change"], architecture)
        fresh = iter(moves.cells(parts["cells"], kept.count(None)))
        return Architecture(macro, tuple(next(fresh) if cell is None else cell for cell in kept))

    def count(architectures: Sequence[Architecture]) -> Costs:
        return costs.count_many(architectures, space.ops, task)

    def milliseconds(architectures: Sequence[Architecture]) -> np.ndarray:
        return predict(latency, [make_plan(one, space.ops, task) for one in architectures])

    problem = Problem(
        sample=sample,
        mutate=mutate,
        count=count,
        measure=goal.measure,
        identity=identity,
        budget=budget,
        latency=None if latency is None else milliseconds,
        combine=goal.combine,
        names=goal.names,
        moves=moves,
    )

    ranker = ranker_of(bundle, fitness if isinstance(fitness, str) else "", steps)

    def propose(propose_key, asked: Budget, num: int) -> list[Architecture]:
        return design(bundle, propose_key, task, asked, num, wishes=ranker.wishes)

    asked = implied_budget(keys["implied"], problem, propose)
    written = _generators(bundle, task, asked, ranker, cells_per_macro)
    return problem._replace(generators=written)


def _moves(bundle: Bundle, task: Task) -> Moves:
    space, size = SPACES[bundle.cells.space], task.size
    num_clusters = bundle.macro_config.vocabulary.num_clusters

    def cells(key, num: int) -> list[Cell]:
        return graphs.unpack(space.sample(key, num))

    def edit_macro(key, architecture: Architecture):
        macro = macro_space.mutate(key, architecture.macro, num_clusters=num_clusters, size=size)
        return macro, kept_cells(architecture, macro)

    start = four_stages(-(-size // task.stem_stride))
    return Moves(cells, space.mutate, edit_macro, start, num_clusters)


def four_stages(size: int) -> MacroArchitecture:
    """The paper's first macro architecture, for images of `size` pixels behind the stem: channels
    8/16/32/64, each stage halving the image while there is more than a pixel left."""
    halvings = macro_space.max_downsamples(size)
    stages = (Stage(0, c, 2 if i < halvings else 1, 1) for i, c in enumerate(_START))
    return MacroArchitecture(tuple(stages), _START_FINAL)


def _generators(
    bundle: Bundle, task: Task, asked: Budget, ranker: Ranker, cells_per_macro: int
) -> Generators:
    space, options = SPACES[bundle.cells.space], dict(cells_per_macro=cells_per_macro)
    written = search_generators(bundle, space, task, asked, ranker=ranker, **options)

    def macros(key, num: int) -> list[MacroArchitecture]:
        requests = [task] * num, [asked] * num
        written = write_macros(bundle, key, *requests, wishes=ranker.wishes)
        return macro_space.unpack(macro_space.take(written.macros, written.possible))

    def fill(key, some: Sequence[MacroArchitecture]) -> list[Architecture]:
        keys = children(key, "conditions", "cells")
        clusters = np.array([stage.cluster for one in some for stage in one.stages])
        conditions = mixture.sample(keys["conditions"], bundle.cells.mixture, clusters)
        drawn = write_cells(bundle.cells, keys["cells"], conditions)
        return macro_space.with_cells(some, graphs.unpack(drawn))

    def near(key, cells: Sequence[Cell]) -> list[Cell]:
        return graphs.unpack(neighbours(bundle.cells, key, graphs.pack(cells)))

    def fit(some: Sequence[Architecture]) -> list[Architecture]:
        macros = macro_space.pack([one.macro for one in some])
        cells = [cell for one in some for cell in one.cells]
        limits = counted_limits([asked] * len(some)).reshape(-1, len(asked.counted))
        fitted = fitting.fit(macros, graphs.pack(cells), space.ops, [task] * len(some), limits)
        return macro_space.with_cells(macro_space.unpack(fitted.macros), cells)

    return written._replace(macros=macros, fill=fill, neighbours=near, fit=fit)


def identity(architecture: Architecture) -> bytes:
    """Equal for architectures that build the same network, whatever clusters and node order."""
    stages = [stage[1:] for stage in architecture.macro.stages]
    keys = map(graphs.canonical_key, architecture.cells)
    return str((stages, architecture.macro.final_width)).encode() + b"".join(keys)
