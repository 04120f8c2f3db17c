"""The two generative levels at work: requests go in, architectures within their budgets come out.

Budget and task condition the transformer, which writes macro architectures; each stage's cluster
gives a condition, the flow a latent for it, the decoder a cell; then the widths are fitted to the
budget (`networks.fitting`). Every row of a call is a request with a task and a budget of its own.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from nasgen.keys import children, generator
from nasgen.models import macro, mixture
from nasgen.models.accuracy import PREDICTED_ACCURACY, steps_seen
from nasgen.models.macro_language import WORDS, context_features, decode_batch, keep_words
from nasgen.models.macro_rules import CostBounds
from nasgen.models.surrogate import predict
from nasgen.networks import costs, fitting
from nasgen.networks.features import features
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.cell_generator import neighbours, write_cells
from nasgen.pipeline.chunks import chunked
from nasgen.pipeline.fitness import describe, expected_accuracy, needed
from nasgen.pipeline.request import pools_of, smallest_networks
from nasgen.pretrained.bundle import Bundle
from nasgen.search.problem import BudgetError, Generators, fits
from nasgen.spaces import SPACES, Space, graphs
from nasgen.spaces import macro as macro_space
from nasgen.types import (
    Architecture,
    Budget,
    Cell,
    CellBatch,
    Costs,
    MacroArchitecture,
    MacroBatch,
    Task,
)

_HIGH = (0.5, 1.0, 1.5, 2.0)  # asked of the transformer, in standard deviations, in turn
_OTHERS = 4  # ops beside the pools that the smallest networks are tried with
_BLOCK = 1024  # requests that are written together
ATTEMPTS = 2  # at a request whose draws miss its budget


class Wish(NamedTuple):
    """What is asked for beside a budget, as in `macro_language.context_features`."""

    quality: float | None = None
    accuracy: float | None = None
    steps: float | None = None


GOOD = tuple(Wish(quality=value) for value in _HIGH)
# where what is wanted is nothing that the weights have learned of: of all T-CETs
_ANY = tuple(Wish(quality=value) for value in (None, -1.5, 0.0, 1.5))


class Written(NamedTuple):
    """macros: one for each request. possible: whether its budget leaves room, by lower bounds, for
    any network; where not, its row is empty."""

    macros: MacroBatch
    possible: Bool[np.ndarray, " requests"]


class Designs(NamedTuple):
    """architectures: one for each request, None where none was found within its budget.
    used: the largest part of a bound that each uses, 0 where there is none."""

    architectures: list[Architecture | None]
    used: Float[np.ndarray, " requests"]


def write_macros(
    bundle: Bundle,
    key: Key[Array, ""],
    tasks: Sequence[Task],
    budgets: Sequence[Budget],
    *,
    wishes: Sequence[Wish] = GOOD,
    temperature: float = 1.0,
) -> Written:
    """A macro architecture for each request that, with the cheapest cells, keeps its budget. A
    row depends on its own place and request alone. wishes: row by row in turn; those that the
    weights have not learned of are not said."""
    contexts = [
        context_features(task, budget, **wishes[i % len(wishes)]._asdict())
        for i, (task, budget) in enumerate(zip(tasks, budgets, strict=True))
    ]
    bounds, tree = jax.tree.flatten(CostBounds(*costs.bounds(tasks)))
    sizes = np.array([task.sides for task in tasks], np.float32).reshape(-1, 2)
    config = bundle.macro_config

    def draw(numbers, contexts, limits, sizes, *bounds):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
        return macro.sample(
            bundle.macro,
            keys,
            contexts,
            limits,
            bounds=jax.tree.unflatten(tree, bounds),
            heights=sizes[:, 0],
            widths=sizes[:, 1],
            config=config,
            temperature=temperature,
        )

    found = chunked(
        draw,
        np.arange(len(tasks), dtype=np.uint32),
        keep_words(np.stack(contexts), bundle.words),
        counted_limits(budgets).astype(np.float32),
        sizes,
        *map(np.asarray, bounds),
    )
    return Written(decode_batch(found.tokens, config.vocabulary), found.fits)


def counted_limits(budgets: Sequence[Budget]) -> Float[np.ndarray, "requests 3"]:
    """The bounds on params, MACs and activation memory; inf where there is none."""
    rows = [list(budget.counted.values()) for budget in budgets]
    return np.array([[np.inf if b is None else b for b in row] for row in rows], np.float64)


def design_each(
    bundle: Bundle,
    key: Key[Array, ""],
    tasks: Sequence[Task],
    budgets: Sequence[Budget],
    *,
    wishes: Sequence[Wish] = GOOD,
    copies: int = 1,
    attempts: int = ATTEMPTS,
) -> Designs:
    """An architecture for each request, whose exact costs keep the budget and use at least
    `fitting.ENOUGH` of its tightest bound where `attempts` draws suffice; else the draw that uses
    the most. Where none fits, one of the `smallest_networks` that do is widened. Latency is not
    looked at. copies: so many neighbours, which must ask for the same, may share what the
    transformer writes, each with cells of its own."""
    size = max(_BLOCK // copies, 1) * copies

    def block(start: int) -> Designs:
        some = (part[start : start + size] for part in (tasks, budgets))
        return _design_block(
            bundle, jax.random.fold_in(key, start), *some, wishes, copies, attempts
        )

    with ThreadPoolExecutor(2) as pool:  # while one counts, the other computes
        blocks = list(pool.map(block, range(0, len(tasks), size)))
    architectures = [one for found in blocks for one in found.architectures]
    return Designs(architectures, np.concatenate([found.used for found in blocks]))


def _design_block(bundle, key, tasks, budgets, wishes, copies: int, attempts: int) -> Designs:
    """`design_each` of some requests, all of them at once."""
    found: list[Architecture | None] = [None] * len(tasks)
    used, left = np.zeros(len(tasks)), np.arange(len(tasks))
    limits = counted_limits(budgets)
    for attempt in range(attempts):
        share = copies if attempt == 0 else 1
        some = [tasks[i] for i in left[::share]], [budgets[i] for i in left[::share]]
        keys = children(jax.random.fold_in(key, attempt), "macros", "conditions", "cells")
        macros, possible = write_macros(bundle, keys["macros"], *some, wishes=wishes)
        rows = np.arange(len(left)) // share
        left, rows = left[possible[rows]], rows[possible[rows]]
        macros = macro_space.take(macros, rows)
        if not len(left):
            break
        cells = _cells_of(bundle, keys, macros.clusters[macros.repeats > 0])
        own = [tasks[i] for i in left]
        fitted = fitting.fit(macros, cells, SPACES["open"].ops, own, limits[left])
        empty = np.array([found[i] is None for i in left])
        better = (fitted.used <= 1) & (empty | (fitted.used > used[left]))
        for index, one in zip(
            left[better], _architectures(fitted.macros, cells, better), strict=True
        ):
            found[index] = one
        used[left[better]] = fitted.used[better]
        bounded = np.isfinite(limits[left]).any(1)
        left = left[bounded & (used[left] < fitting.ENOUGH)]
        if not len(left):
            break
    (missing,) = np.nonzero([one is None for one in found])
    if len(missing):
        rng = generator(jax.random.fold_in(key, attempts))
        some = [tasks[i] for i in missing], [budgets[i] for i in missing]
        for index, small in zip(missing, _widened(rng, *some), strict=True):
            if small is not None:
                found[index], used[index] = small
    return Designs(found, used)


def _widened(
    rng: np.random.Generator, tasks: Sequence[Task], budgets: Sequence[Budget]
) -> list[tuple[Architecture, float] | None]:
    """For each request one of the smallest networks within the budget, of pools or of a few random
    ops, fitted to it, and how much of it that uses; None where there is none."""
    space = SPACES["open"]
    pools = pools_of(space)
    others = np.setdiff1d(np.arange(len(space.ops)), pools)
    tried = [[*pools, *rng.choice(others, _OTHERS, False).tolist()] for _ in tasks]
    networks = [
        list(smallest_networks(space, task, ops)) for task, ops in zip(tasks, tried, strict=True)
    ]
    each = [task for task, row in zip(tasks, networks, strict=True) for _ in row]
    counted = costs.count_many([one for row in networks for one in row], space.ops, each)
    ends = np.cumsum([len(row) for row in networks])[:-1]
    parts = zip(*(np.split(column, ends) for column in counted), strict=True)
    inside = {
        i: fit
        for i, (part, budget) in enumerate(zip(parts, budgets, strict=True))
        if (fit := fits(Costs(*part), budget)).any()
    }
    if not inside:
        return [None] * len(tasks)
    chosen = {i: networks[i][rng.choice(np.flatnonzero(fit))] for i, fit in inside.items()}
    macros = macro_space.pack([one.macro for one in chosen.values()])
    cells = [cell for one in chosen.values() for cell in one.cells]
    limits = counted_limits([budgets[i] for i in chosen]).reshape(-1, 3)
    own = [tasks[i] for i in chosen]
    fitted = fitting.fit(macros, graphs.pack(cells), space.ops, own, limits)
    made = macro_space.with_cells(macro_space.unpack(fitted.macros), cells)
    found = dict(zip(chosen, zip(made, fitted.used.tolist(), strict=True), strict=True))
    return [found.get(i) for i in range(len(tasks))]


def _cells_of(bundle: Bundle, keys, clusters) -> CellBatch:
    """A cell of each cluster."""
    conditions = mixture.sample(keys["conditions"], bundle.cells.mixture, np.asarray(clusters))
    return write_cells(bundle.cells, keys["cells"], conditions)


def _architectures(macros: MacroBatch, cells: CellBatch, chosen) -> list[Architecture]:
    """The chosen rows as architectures; `cells` stand row by row."""
    owner = np.nonzero(macros.repeats > 0)[0]
    own = graphs.unpack(graphs.take(cells, chosen[owner]))
    return macro_space.with_cells(macro_space.unpack(macro_space.take(macros, chosen)), own)


def design(
    bundle: Bundle,
    key: Key[Array, ""],
    task: Task,
    budget: Budget,
    num: int,
    *,
    cells_per_macro: int = 1,
    wishes: Sequence[Wish] = GOOD,
) -> list[Architecture]:
    """`num * cells_per_macro` architectures for one task that keep the budget's counted bounds:
    each macro architecture with some draws of cells. Fewer where the budget leaves room for few.

    Raises BudgetError where there is no such network, with the least that one costs, or none was
    found."""
    refuse_impossible(budget, task)
    num *= cells_per_macro
    requests = [task] * num, [budget] * num
    options = dict(copies=cells_per_macro, wishes=wishes)
    found, _ = design_each(bundle, key, *requests, **options)
    architectures = [one for one in found if one is not None]
    if not architectures:
        raise BudgetError(
            f"none of {num} generated architectures for {task.name} fits {budget}; allow a larger "
            f"budget, or ask for more."
        )
    return architectures


def refuse_impossible(budget: Budget, task: Task) -> None:
    """Raises BudgetError where no network for the task keeps the counted bounds."""
    space = SPACES["open"]
    smallest = list(smallest_networks(space, task, pools_of(space)))
    least = costs.count_many(smallest, space.ops, task)
    for name, bound in budget.counted.items():
        lowest = int(getattr(least, name).min())
        if bound is not None and bound < lowest:
            raise BudgetError(
                f"`budget.{name}` must be at least {lowest:,}, what the smallest network for "
                f"{task.name} costs; got {bound:,}."
            )
    if not fits(least, budget).any():
        given = {name: bound for name, bound in budget.counted.items() if bound is not None}
        first = next(iter(given))
        rest = {n: b for n, b in given.items() if n != first}
        fewest = getattr(least, first)[fits(least, Budget(**rest))]
        asked = ", ".join(f"{name} {bound:,}" for name, bound in given.items())
        remedy = (
            f"with the other bounds `budget.{first}` must be at least {int(fewest.min()):,}"
            if len(fewest)
            else "allow more of each"
        )
        raise BudgetError(
            f"`budget` must leave room for one network for {task.name}; got {asked}, each enough "
            f"alone but not together: {remedy}."
        )


def vary(
    bundle: Bundle, key: Key[Array, ""], architectures: Sequence[Architecture], task: Task
) -> list[Architecture]:
    """One variation of each: its stages mutated, or one stage's cell replaced by a neighbour. New
    stages get a cell of their cluster."""
    keys = children(key, "kind", "macro", "conditions", "cells", "neighbours")
    rng = generator(keys["kind"])
    changes_macro = rng.random(len(architectures)) < 0.5
    size, num_clusters = task.size, bundle.macro_config.vocabulary.num_clusters
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
    fresh = iter(graphs.unpack(_cells_of(bundle, keys, clusters)) if clusters else ())
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


class Ranker(NamedTuple):
    """What is known of a fitness before anything is scored.

    describe: a plan's inputs. prior: rows of them to expected scores, all equal where nothing is
    known. wishes: that are asked of the transformer."""

    describe: Callable[[Plan], Float[np.ndarray, " inputs"]]
    prior: Callable[[Float[np.ndarray, "rows inputs"]], Float[np.ndarray, " rows"]]
    wishes: Sequence[Wish]


def ranker_of(bundle: Bundle, fitness: str, steps: int) -> Ranker:
    """The ranker of a fitness by name: the shipped surrogate for the one it was fitted to, the
    predictor of trained accuracy after `steps` for that; else later rounds of a search learn from
    the exact scores alone. Raises ValueError where predictors are asked for that are not there."""
    if fitness == PREDICTED_ACCURACY:
        predictor = needed(bundle.accuracy).unscored
        expected = partial(expected_accuracy, predictor, steps=steps)
        if not bundle.words[WORDS.index("accuracy")]:
            return Ranker(describe, expected, _ANY)
        after = float(np.clip(steps, *steps_seen(predictor)))  # it has learned of no others
        return Ranker(describe, expected, tuple(Wish(accuracy=a, steps=after) for a in _HIGH))
    if fitness == bundle.fitness:
        return Ranker(features, partial(predict, bundle.surrogate), GOOD)
    return Ranker(features, lambda rows: np.zeros(len(rows)), _ANY)


def search_generators(
    bundle: Bundle,
    space: Space,
    task: Task,
    budget: Budget,
    *,
    cells_per_macro: int,
    ranker: Ranker,
) -> Generators:
    """The learned parts as the callables that `search.generate` wants."""

    def known(architectures: Sequence[Architecture]) -> np.ndarray:
        return np.array([ranker.describe(make_plan(o, space.ops, task)) for o in architectures])

    def propose(key: Key[Array, ""], num: int) -> list[Architecture]:
        macros = -(-num // cells_per_macro)
        options = dict(cells_per_macro=cells_per_macro, wishes=ranker.wishes)
        return design(bundle, key, task, budget, macros, **options)[:num]

    return Generators(
        propose=propose,
        vary=lambda key, parents: vary(bundle, key, parents, task),
        features=known,
        prior=ranker.prior,
    )
