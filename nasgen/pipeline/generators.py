"""The two generative levels at work: a request goes in, architectures come out.

Budget and task condition the transformer, which writes macro architectures; each stage's cluster
gives a condition, the flow a latent for it, the decoder a cell.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Key

from nasgen.keys import children, generator
from nasgen.models import macro, mixture
from nasgen.models.macro_language import context_features
from nasgen.models.macro_language import decode as decode_tokens
from nasgen.models.macro_rules import CostBounds
from nasgen.models.surrogate import predict, refine
from nasgen.networks import costs
from nasgen.networks.features import features
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.cell_generator import neighbours, write_cells
from nasgen.pretrained.bundle import Bundle
from nasgen.search.problem import BudgetError, Generators
from nasgen.spaces import Space, graphs
from nasgen.spaces import macro as macro_space
from nasgen.types import Architecture, Budget, Cell, MacroArchitecture, Task

QUALITIES = (0.5, 1.0, 1.5, 2.0)  # asked of the transformer, in standard deviations, in equal parts


def write_macros(
    bundle: Bundle,
    key: Key[Array, ""],
    task: Task,
    budget: Budget,
    num: int,
) -> list[MacroArchitecture]:
    """`num` macro architectures for the task that, with the cheapest cells, keep the budget.

    Raises BudgetError where not even the simplest network can."""
    each = -(-num // len(QUALITIES))
    contexts = np.stack([context_features(task, budget, quality) for quality in QUALITIES])
    bounds = budget.counted.values()
    limits = np.array([[np.inf if bound is None else bound for bound in bounds]], np.float32)
    height, width = task.input_shape[:2]
    try:
        tokens, _ = macro.sample(
            bundle.macro,
            key,
            contexts,
            np.repeat(limits, len(QUALITIES), 0),
            bounds=CostBounds(*costs.bounds(task)),
            height=height,
            width=width,
            config=bundle.macro_config,
            num=each,
        )
    except ValueError as error:
        raise BudgetError(f"no network for {task.name} fits {budget}: {error}") from None
    # Samples of one request lie side by side: interleave, so that a cut keeps the parts equal.
    tokens = np.asarray(tokens).reshape(len(QUALITIES), each, -1).swapaxes(0, 1)
    rows = tokens.reshape(-1, tokens.shape[-1])[:num]
    return [decode_tokens(row, bundle.macro_config.vocabulary) for row in rows]


def design(
    bundle: Bundle,
    key: Key[Array, ""],
    task: Task,
    budget: Budget,
    num: int,
    *,
    cells_per_macro: int = 1,
) -> list[Architecture]:
    """`num * cells_per_macro` architectures: each macro architecture with some draws of cells."""
    keys = children(key, "macros", "conditions", "cells")
    macros = write_macros(bundle, keys["macros"], task, budget, num)
    macros = [one for one in macros for _ in range(cells_per_macro)]
    clusters = np.array([stage.cluster for one in macros for stage in one.stages])
    return macro_space.with_cells(macros, _cells_of(bundle, keys, clusters))


def _cells_of(bundle: Bundle, keys, clusters) -> list[Cell]:
    """A cell of each cluster."""
    conditions = mixture.sample(keys["conditions"], bundle.cells.mixture, np.asarray(clusters))
    return graphs.unpack(write_cells(bundle.cells, keys["cells"], conditions))


def vary(
    bundle: Bundle, key: Key[Array, ""], architectures: Sequence[Architecture], task: Task
) -> list[Architecture]:
    """One variation of each: its stages mutated, or one stage's cell replaced by a neighbour. New
    stages get a cell of their cluster."""
    keys = children(key, "kind", "macro", "conditions", "cells", "neighbours")
    rng = generator(keys["kind"])
    changes_macro = rng.random(len(architectures)) < 0.5
    size, num_clusters = min(task.input_shape[:2]), bundle.macro_config.vocabulary.num_clusters
    macros = [
        macro_space.mutate(
            jax.random.fold_in(keys["macro"], i), one.macro, num_clusters=num_clusters, size=size
        )
        if changed
        else one.macro
        for i, (one, changed) in enumerate(zip(architectures, changes_macro, strict=True))
    ]
    kept = [kept_cells(old, new) for old, new in zip(architectures, macros, strict=True)]
    spots = [
        (cells, int(rng.integers(len(cells))))
        for cells, changed in zip(kept, changes_macro, strict=True)
        if not changed
    ]
    if spots:
        replaced = [cells[index] for cells, index in spots]
        near = graphs.unpack(neighbours(bundle.cells, keys["neighbours"], graphs.pack(replaced)))
        for (cells, index), cell in zip(spots, near, strict=True):
            cells[index] = cell
    clusters = [
        stage.cluster
        for one, cells in zip(macros, kept, strict=True)
        for stage, cell in zip(one.stages, cells, strict=True)
        if cell is None
    ]
    fresh = iter(_cells_of(bundle, keys, clusters) if clusters else ())
    filled = (next(fresh) if cell is None else cell for cells in kept for cell in cells)
    return macro_space.with_cells(macros, filled)


def kept_cells(old: Architecture, new: MacroArchitecture) -> list[Cell | None]:
    """The cells of a macro architecture in which one stage of `old` was changed, removed or split:
    every stage keeps its cell; None where its cluster is another now."""
    before, after = old.macro.stages, new.stages
    head = tail = 0
    shorter = min(len(before), len(after))
    while head < shorter and before[head] == after[head]:
        head += 1
    while tail < shorter - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    changed = head if head < len(before) - tail else max(head - 1, 0)  # or split behind it
    middle = [
        old.cells[changed] if stage.cluster == before[changed].cluster else None
        for stage in after[head : len(after) - tail]
    ]
    return [*old.cells[:head], *middle, *old.cells[len(before) - tail :]]


def search_generators(
    bundle: Bundle, space: Space, task: Task, budget: Budget, *, cells_per_macro: int, fitness: str
) -> Generators:
    """The learned parts as the callables that `search.generate` wants. The surrogate ranks only for
    the fitness that it was fitted to; for another one the first round takes proposals as they come
    and later ones learn from the exact scores alone."""
    surrogate = bundle.surrogate
    if fitness != bundle.fitness:
        surrogate = surrogate._replace(weights=np.zeros_like(surrogate.weights))

    def describe(architectures: Sequence[Architecture]) -> np.ndarray:
        return np.array([features(make_plan(one, space.ops, task)) for one in architectures])

    def rank(rows: np.ndarray, scored: np.ndarray, scores: np.ndarray) -> np.ndarray:
        finite = np.isfinite(scores)
        if finite.sum() < 4:
            return predict(surrogate, rows)
        return refine(surrogate, scored[finite], scores[finite], rows)

    def propose(key: Key[Array, ""], num: int) -> list[Architecture]:
        macros = -(-num // cells_per_macro)
        return design(bundle, key, task, budget, macros, cells_per_macro=cells_per_macro)[:num]

    return Generators(
        propose=propose,
        vary=lambda key, parents: vary(bundle, key, parents, task),
        features=describe,
        rank=rank,
    )
