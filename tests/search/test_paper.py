"""HL-Evo: the paper's constants, its two phases, what survives and what may change."""

import jax

from nasgen.search.loop import search
from nasgen.search.methods import METHODS
from nasgen.search.paper import Paper
from nasgen.search.state import scores
from tests.search import toy


def _states(spaces, population, evaluations):
    kept, problem = [], toy.problem()[0]
    method = METHODS["paper"]._replace(settings=Paper(spaces, population))
    search(jax.random.key(0), method, problem, evaluations, on_state=kept.append)
    return kept, problem


def test_the_constants_are_the_papers():
    assert METHODS["paper"].settings == Paper(spaces=3_000, population=512)


def test_the_first_network_is_one_edit_from_the_hand_made_one():
    (state, *_), _ = _states(5, 4, 1)
    (network,) = state.architectures
    assert network.macro != toy.START
    changed = [stage for stage in network.macro.stages if stage not in toy.START.stages]
    assert len(changed) <= 2  # one stage, perhaps split


def test_the_population_grows_and_then_loses_its_worst():
    states, problem = _states(100, 6, 30)
    for number, state in enumerate(states):
        fitness = scores(state, problem)
        assert len(state.population) == min(number + 1, 6)
        dead = set(range(state.evaluations)) - set(state.population)
        alive = [fitness[i] for i in state.population]
        assert all(fitness[i] <= min(alive) for i in dead)


def test_cells_are_drawn_for_spaces_and_then_changed_by_neighbours():
    """The toy's generator fills spaces with one cell; only its neighbours are others. In the second
    phase clusters stay."""
    states, _ = _states(12, 6, 36)
    networks = states[-1].architectures
    assert all(set(one.cells) == {toy.CELL} for one in networks[:12])
    assert any(set(one.cells) != {toy.CELL} for one in networks[12:])
    before = {stage.cluster for i in states[11].population for stage in networks[i].macro.stages}
    assert {stage.cluster for one in networks[12:] for stage in one.macro.stages} <= before
