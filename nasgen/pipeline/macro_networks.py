"""Networks that the macro level learns from: shapes drawn at random, widths fitted to budgets.

Tasks and budgets are drawn first, log-uniformly over their ranges, then networks are fitted to
them, so that the networks spread over all ranges, where random widths would seldom hit any. Some
never halve their resolution, as the CIFAR networks of the paper's authors, some do at every stage.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Int, Key
from ml_collections import ConfigDict

from nasgen.keys import children, generator
from nasgen.networks import costs, fitting
from nasgen.spaces import SPACES, graphs
from nasgen.spaces import macro as macro_space
from nasgen.types import (
    CHANNEL_STEP,
    MAX_CELLS,
    MAX_CHANNELS,
    MAX_REPEATS,
    Architecture,
    CellBatch,
    Costs,
    MacroBatch,
    Task,
)

OPEN = SPACES["open"]  # the space with a macro level to learn
LARGE = 128  # pixels from which on the stem halves the image
_GROWTH = (2.5, 2.0, 1.5, 1.25, 1.0, 1 / 1.25)  # from one stage's width to the next
_LEAST_USED = 0.8  # of the tightest budget; networks that use less are drawn again
_ROUNDS = 200


class Ranges(NamedTuple):
    """The ends that tasks and budgets are drawn between."""

    sizes: tuple[int, int]
    classes: tuple[int, int]
    params: tuple[int, int]
    macs: tuple[int, int]


def ranges_of(settings: ConfigDict) -> Ranges:
    """Those of a config's keys of the same names."""
    return Ranges(*(tuple(settings[name]) for name in Ranges._fields))


class Networks(NamedTuple):
    """tasks: height (= width), channels, classes of each. cells: rows of the pool, one a stage that
    is there, row by row."""

    tasks: Int[np.ndarray, "networks 3"]
    macros: MacroBatch
    cells: Int[np.ndarray, " stages"]


class Pool(NamedTuple):
    """Cells to build networks of, sorted by cluster, and where each cluster begins (and ends)."""

    cells: CellBatch
    starts: Int[np.ndarray, " ends"]


def save_pool(folder: Path, batch: CellBatch, clusters: np.ndarray, num_clusters: int) -> None:
    """Writes `pool.npz`."""
    order = np.argsort(clusters, kind="stable")
    starts = np.searchsorted(clusters[order], np.arange(num_clusters + 1))
    cells = graphs.take(batch, order)
    np.savez(folder / "pool.npz", nodes=cells.nodes, adjacency=cells.adjacency, starts=starts)


def load_pool(folder: Path) -> Pool:
    """The cells of `pool.npz`."""
    with np.load(folder / "pool.npz") as file:
        return Pool(CellBatch(file["nodes"], file["adjacency"]), file["starts"])


def task_of(size: int, channels: int, classes: int) -> Task:
    """A made-up task of square images; the stem halves large ones."""
    stride = 2 if size >= LARGE else 1
    return Task("any", (size, size, channels), classes, stem_stride=stride)


def tasks_of(rows: Int[np.ndarray, "networks 3"]) -> list[Task]:
    """The tasks of these sizes, channels and classes."""
    return [task_of(*row) for row in rows.tolist()]


def draw_tasks(rng: np.random.Generator, num: int, ranges: Ranges) -> np.ndarray:
    """Sizes and classes, log-uniform, grey or colour: rows of `Networks.tasks`."""
    ends = (ranges.sizes, ranges.classes)
    sizes, classes = (np.rint(_log_uniform(rng, *pair, num)).astype(int) for pair in ends)
    return np.stack([sizes, rng.choice((1, 3), num), classes], 1)


def draw_limits(rng: np.random.Generator, num: int, ranges: Ranges) -> np.ndarray:
    """Bounds on params and MACs, one or both of them log-uniform, none above the range's end."""
    both = ranges.params, ranges.macs
    limits = np.stack([_log_uniform(rng, *ends, num) for ends in both], 1)
    free = np.array([[False, False], [False, False], [True, False], [False, True]])
    limits = np.where(free[rng.integers(0, 4, num)], [ends[1] for ends in both], limits)
    return np.concatenate([limits, np.full((num, 1), np.inf)], 1)


def _log_uniform(rng: np.random.Generator, low: float, high: float, num: int) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), num))


def draw_shapes(
    rng: np.random.Generator, sides: Int[np.ndarray, " networks"], clusters: np.ndarray
) -> MacroBatch:
    """Random stages for images of `sides` pixels behind the stem, of these clusters. How often the
    resolution halves, how long stages are and how widths grow is each network's own."""
    num, most = len(sides), macro_space.MAX_STAGES
    shape = (num, most)
    repeats = 1 + rng.binomial(MAX_REPEATS - 1, rng.uniform(0, 1, (num, 1)), shape)
    length = rng.integers(1, most + 1, (num, 1))
    there = (np.arange(most) < length) & (repeats.cumsum(1) <= MAX_CELLS)
    halving = np.maximum(rng.uniform(-0.15, 0.7, (num, 1)), 0)
    most_halvings = np.ceil(np.log2(np.maximum(sides, 1)))[:, None]
    halves = there & (rng.random(shape) < halving)
    halves &= halves.cumsum(1) <= most_halvings
    factors = rng.choice(_GROWTH, shape)
    factors[:, 0] = np.exp(rng.uniform(np.log(CHANNEL_STEP), np.log(128), num))
    widths = factors.cumprod(1)
    last = np.take_along_axis(widths, there.sum(1, keepdims=True) - 1, 1)[:, 0]
    finals = _rounded(last * np.exp(rng.uniform(np.log(0.5), np.log(8), num)))
    columns = rng.choice(clusters, shape), _rounded(widths), 1 + halves, repeats
    return MacroBatch(*(np.where(there, column, 0) for column in columns), finals)


def _rounded(widths: np.ndarray) -> np.ndarray:
    steps = np.clip(np.rint(widths / CHANNEL_STEP), 1, MAX_CHANNELS // CHANNEL_STEP)
    return CHANNEL_STEP * steps.astype(int)


def draw_networks(
    ranges: Ranges,
    pool: Pool,
    num: int,
    key: Key[Array, ""],
    *,
    sizes: tuple[int, ...] = (),
    classes: tuple[int, ...] = (),
    heavy: float = math.inf,
) -> Networks:
    """`num` networks fitted to budgets. A stage's cell is drawn from those of its cluster; clusters
    that no cell is likeliest in cannot be drawn.

    sizes, classes: of the tasks, where only some will do. heavy: MACs above which only every fourth
    network stays. Raises ValueError where hardly any network keeps the limits."""
    keys = children(key, "networks")
    rng, found = generator(keys["networks"]), []
    clusters = np.flatnonzero(np.diff(pool.starts))
    missing = num
    for _ in range(_ROUNDS):
        rows = missing + missing // 2 + 16
        tasks = draw_tasks(rng, rows, ranges)
        for column, only in ((0, sizes), (2, classes)):
            if only:
                tasks[:, column] = rng.choice(only, rows)
        sides = np.where(tasks[:, 0] >= LARGE, -(-tasks[:, 0] // 2), tasks[:, 0])
        macros = draw_shapes(rng, sides, clusters)
        limits = draw_limits(rng, rows, ranges)
        own = macros.clusters[macros.repeats > 0]
        low, high = pool.starts[own], pool.starts[own + 1]
        cells = low + np.floor(rng.random(len(own)) * (high - low)).astype(int)
        batch = graphs.take(pool.cells, cells)
        macros, used = fitting.fit(macros, batch, OPEN.ops, tasks_of(tasks), limits)
        kept = (used <= 1) & (used >= _LEAST_USED)
        if heavy < math.inf:
            macs = costs.count_batch(macros, batch, OPEN.ops, tasks_of(tasks)).macs
            kept &= (macs <= heavy) | (rng.random(rows) < 0.25)
        found.append(take(Networks(tasks, macros, cells), np.flatnonzero(kept)[:missing]))
        missing -= len(found[-1].tasks)
        if not missing:
            return _concatenated(found)
    raise ValueError("`networks` limits are too tight: hardly any random network keeps them.")


def coarse(networks: Networks) -> Networks:
    """The networks with all widths among 8, 32, 128, 512, so that they share compiled programs."""

    def nearest(widths):
        steps = np.clip(np.rint(np.log2(np.maximum(widths, 8) / 8) / 2), 0, 3)
        return np.where(widths > 0, 8 * 4 ** steps.astype(int), 0)

    macros = networks.macros
    widths = dict(channels=nearest(macros.channels), final_widths=nearest(macros.final_widths))
    return networks._replace(macros=macros._replace(**widths))


def take(networks: Networks, rows: Int[np.ndarray, " rows"]) -> Networks:
    """The networks of these rows."""
    there = networks.macros.repeats > 0
    ends = there.sum(1).cumsum()
    spans = [np.arange(ends[row] - there[row].sum(), ends[row]) for row in rows]
    cells = networks.cells[np.concatenate([np.zeros(0, int), *spans])]
    return Networks(networks.tasks[rows], macro_space.take(networks.macros, rows), cells)


def _concatenated(parts: list[Networks]) -> Networks:
    macros = MacroBatch(*map(np.concatenate, zip(*(part.macros for part in parts), strict=True)))
    tasks, _, cells = zip(*parts, strict=True)
    return Networks(np.concatenate(tasks), macros, np.concatenate(cells))


def architectures(networks: Networks, pool: Pool) -> list[Architecture]:
    """The networks as architectures."""
    cells = graphs.unpack(graphs.take(pool.cells, networks.cells))
    return macro_space.with_cells(macro_space.unpack(networks.macros), cells)


def count(networks: Networks, pool: Pool) -> Costs:
    """Exact costs of all networks."""
    cells = graphs.take(pool.cells, networks.cells)
    return costs.count_batch(networks.macros, cells, OPEN.ops, tasks_of(networks.tasks))


def save(file: Path, networks: Networks) -> None:
    """Writes an .npz file that `load` reads."""
    np.savez(file, tasks=networks.tasks, cells=networks.cells, **networks.macros._asdict())


def load(file: Path) -> Networks:
    """The networks of a file."""
    with np.load(file) as arrays:
        macros = MacroBatch(*(arrays[field] for field in MacroBatch._fields))
        return Networks(arrays["tasks"], macros, arrays["cells"])
