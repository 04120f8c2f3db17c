"""A search problem without networks: an architecture's score is a known function of its stages."""

import jax
import numpy as np

from nasgen.pipeline.generators import kept_cells
from nasgen.search.problem import Generators, Moves, Problem
from nasgen.spaces import SPACES, graphs
from nasgen.spaces import macro as macro_space
from nasgen.types import Architecture, Budget, Cell, Costs, MacroArchitecture, Stage

CELL = Cell((0,), ((0, 1), (0, 2), (1, 2)))
NUM_CLUSTERS, SIZE = 4, 32
START = MacroArchitecture(tuple(Stage(0, width, 2, 1) for width in (8, 16, 32, 64)), 128)


def cost(architecture):
    """Params: widths times repeats, and as many as its cells have ops."""
    stages = zip(architecture.macro.stages, architecture.cells, strict=True)
    return sum(s.channels * s.repeats + len(cell.ops) - 1 for s, cell in stages)


def value(architecture):
    """Grows with cost, more so in cluster 0, and with the first op of every cell."""
    weights = {0: 2.0, 1: 1.0, 2: 0.5, 3: 0.25}
    stages = zip(architecture.macro.stages, architecture.cells, strict=True)
    return sum(s.channels * s.repeats * weights[s.cluster] + c.ops[0] for s, c in stages)


def _cells(key, num):
    return graphs.unpack(SPACES["open"].sample(key, num))


def _macros(key, num):
    return macro_space.sample(key, num, num_clusters=NUM_CLUSTERS, size=SIZE, max_channels=128)


def _fill(key, macros):
    return [Architecture(m, (CELL,) * len(m.stages)) for m in macros]


def _sample(key, num):
    return _fill(key, _macros(key, num))


def _edit_macro(key, architecture):
    macro = macro_space.mutate(key, architecture.macro, num_clusters=NUM_CLUSTERS, size=SIZE)
    return macro, kept_cells(architecture, macro)


def _mutate(key, architecture):
    macro, cells = _edit_macro(key, architecture)
    return Architecture(macro, tuple(CELL if cell is None else cell for cell in cells))


def _edit_cell(key, cell):
    return SPACES["open"].mutate(key, cell)


def _neighbours(key, cells):
    keys = jax.random.split(key, len(cells))
    return [_edit_cell(one, cell) for one, cell in zip(keys, cells, strict=True)]


def _count(architectures):
    params = np.array([cost(one) for one in architectures], np.int64)
    return Costs(params, params * 10, params, params, params)


def problem(params=400):
    """The toy problem under a budget of `params`, and a list that records what was measured."""
    asked = []

    def measure(architectures):
        asked.extend(architectures)
        return np.array([[value(one)] for one in architectures], float)

    return Problem(
        _sample,
        _mutate,
        _count,
        measure,
        lambda one: repr(one).encode(),
        Budget(params),
        moves=Moves(_cells, _edit_cell, _edit_macro, START, NUM_CLUSTERS),
        generators=generators(),
    ), asked


def generators():
    """Random proposals, ranked by cost: a surrogate that knows half of the truth."""

    def vary(key, parents):
        return [_mutate(jax.random.fold_in(key, i), one) for i, one in enumerate(parents)]

    def features(architectures):
        rows = [[cost(one), len(one.cells)] for one in architectures]
        return np.array(rows, float).reshape(-1, 2)

    def prior(rows):
        return rows[:, 0]

    def fit(architectures):
        return list(architectures)

    return Generators(_sample, vary, features, prior, _macros, _fill, _neighbours, fit)
