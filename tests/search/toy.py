"""A search problem without networks: an architecture's score is a known function of its stages."""

import jax
import numpy as np

from nasgen.search.generate import Generators
from nasgen.search.problem import Problem
from nasgen.spaces import macro as macro_space
from nasgen.types import Architecture, Budget, Cell, Costs

CELL = Cell((0,), ((0, 1), (0, 2), (1, 2)))
NUM_CLUSTERS, SIZE = 4, 32


def cost(architecture):
    """Params: widths times repeats."""
    return sum(s.channels * s.repeats for s in architecture.macro.stages)


def value(architecture):
    """Grows with cost, more so in cluster 0."""
    weights = {0: 2.0, 1: 1.0, 2: 0.5, 3: 0.25}
    return sum(s.channels * s.repeats * weights[s.cluster] for s in architecture.macro.stages)


def _sample(key, num):
    macros = macro_space.sample(key, num, num_clusters=NUM_CLUSTERS, size=SIZE, max_channels=128)
    return [Architecture(m, (CELL,) * len(m.stages)) for m in macros]


def _mutate(key, architecture):
    macro = macro_space.mutate(key, architecture.macro, num_clusters=NUM_CLUSTERS, size=SIZE)
    return Architecture(macro, (CELL,) * len(macro.stages))


def _count(architectures):
    params = np.array([cost(one) for one in architectures], np.int64)
    return Costs(params, params * 10, params, params, params)


def problem(params=400):
    """The toy problem under a budget of `params`, and a list that records what was scored."""
    asked = []

    def score(architectures):
        asked.extend(architectures)
        return np.array([value(one) for one in architectures])

    made = Problem(_sample, _mutate, _count, score, lambda one: repr(one).encode(), Budget(params))
    return made, asked


def generators():
    """Random proposals, ranked by cost: a surrogate that knows half of the truth."""

    def vary(key, parents):
        return [_mutate(jax.random.fold_in(key, i), one) for i, one in enumerate(parents)]

    def features(architectures):
        return np.array([[cost(one), len(one.cells)] for one in architectures], float)

    def rank(rows, scored, scores):
        return rows[:, 0]

    return Generators(_sample, vary, features, rank)
