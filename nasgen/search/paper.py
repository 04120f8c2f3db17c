"""HL-Evo, the search of "Towards Neural Architecture Search through Hierarchical Generative
Modeling" (Xiang et al., ICML 2024).

First `spaces` exact scores go to macro architectures, each a space of networks: a uniformly random
parent has a random non-empty subset of {one stage's cluster, channels, stride, repeats, the final
width} changed, its cells are drawn by the flow, and what is over the budget is discarded before it
costs anything. The population begins with mutants of the hand-made one of four stages (mutated
again while nothing keeps the budget), grows to its size and then loses its worst. Then the networks
of the spaces that survived evolve in the same way, except that where a stage's cluster would
change, its cell becomes another of the same condition, by the flow at full noise.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from nasgen.keys import children, generator
from nasgen.search.problem import BudgetError, Problem
from nasgen.search.state import SearchState, proposed, scored, scores
from nasgen.types import Architecture

_TRIES, _MAX_TRIES = 16, 4096


class Paper(NamedTuple):
    """The authors' constants; their searches end after 20,000 exact scores in all."""

    spaces: int = 3_000
    population: int = 512


def step(
    key: Key[Array, ""], state: SearchState, problem: Problem, settings: Paper, most: int
) -> SearchState:
    """Scores one child. Raises BudgetError where no child of many keeps the budget."""
    mutate = _spaces if state.evaluations < settings.spaces else _networks
    keys, drawn = children(key, "start", "attempts"), []
    if not state.population:
        drawn = problem.generators.fill(keys["start"], [problem.moves.start] * _TRIES)
    for attempt in range(_MAX_TRIES // _TRIES):
        own = children(jax.random.fold_in(keys["attempts"], attempt), "parents", "mutants")
        parents = _parents(own["parents"], state) if state.population else drawn
        drawn = mutate(own["mutants"], parents, problem)
        state, new = proposed(state, problem, drawn, fresh=False)
        if new:
            child = next(iter(new.values()))
            return _survivors(scored(state, problem, [child]), problem, settings)
    raise BudgetError(f"none of {_MAX_TRIES} mutants fits {problem.budget}; allow a larger budget.")


def _survivors(state: SearchState, problem: Problem, settings: Paper) -> SearchState:
    """The population with the newest, without the worst once it is full."""
    alive, fitness = (*state.population, state.evaluations - 1), scores(state, problem)
    if len(alive) > settings.population:
        worst = min(alive, key=lambda index: fitness[index])
        alive = tuple(index for index in alive if index != worst)
    return state._replace(population=alive)


def _parents(key: Key[Array, ""], state: SearchState) -> list[Architecture]:
    places = generator(key).integers(len(state.population), size=_TRIES)
    return [state.architectures[state.population[place]] for place in places]


def _spaces(key: Key[Array, ""], parents, problem: Problem) -> list[Architecture]:
    """Networks of mutated spaces."""
    keys, edit = children(key, "macros", "cells"), problem.moves.edit_macro
    each = zip(jax.random.split(keys["macros"], len(parents)), parents, strict=True)
    return problem.generators.fill(keys["cells"], [edit(*pair)[0] for pair in each])


def _networks(key: Key[Array, ""], parents, problem: Problem) -> list[Architecture]:
    """Mutated networks."""
    keys, edited, replaced = children(key, "macros", "cells"), [], []
    for one, parent in zip(jax.random.split(keys["macros"], len(parents)), parents, strict=True):
        macro, cells = problem.moves.edit_macro(one, parent)
        fresh = np.flatnonzero([cell is None for cell in cells])
        if len(fresh):  # the one stage whose cluster would have changed, perhaps split in two
            cluster = parent.macro.stages[fresh[0]].cluster
            stages = [
                stage._replace(cluster=cluster) if index in fresh else stage
                for index, stage in enumerate(macro.stages)
            ]
            macro = macro._replace(stages=tuple(stages))
            replaced.append(parent.cells[fresh[0]])
        edited.append((macro, cells))
    near = iter(problem.generators.neighbours(keys["cells"], replaced) if replaced else ())
    return [_filled(macro, cells, near) for macro, cells in edited]


def _filled(macro, cells, near) -> Architecture:
    """The network with the next of the `near` cells wherever one is missing."""
    if None in cells:
        cell = next(near)
        cells = [cell if one is None else one for one in cells]
    return Architecture(macro, tuple(cells))
