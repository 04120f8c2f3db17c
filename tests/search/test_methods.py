"""Every method: within the budget, charged exactly, pure in its key, able to stop and go on; and
what each is for."""

import jax
import numpy as np
import pytest

from nasgen.search import levels
from nasgen.search.evolution import Evolution
from nasgen.search.generate import Generate, with_cells_of
from nasgen.search.local_search import LocalSearch
from nasgen.search.loop import search
from nasgen.search.methods import METHODS, configured
from nasgen.search.paper import Paper
from nasgen.search.problem import BudgetError, finite, fits
from nasgen.search.random_search import Random
from nasgen.search.state import scores
from nasgen.types import Budget, Costs
from tests.search import toy

SMALL = {
    "generate": Generate(proposals=100, batch=3, generations=2, edits=16),
    "macro_only": Generate(proposals=100, batch=3, generations=2, edits=16),
    "paper": Paper(spaces=7, population=5),
    "random": Random(batch=4),
    "evolution": Evolution(population=6, tournament=3),
    "cells_only": Generate(proposals=100, batch=3, generations=2, edits=16),
    "local_search": LocalSearch(patience=4),
}


def method(name, **changes):
    found = METHODS[name]
    return found._replace(settings=SMALL.get(name, found.settings)._replace(**changes))


def run(name, evaluations, *, seed=0, problem=None, **options):
    problem = problem or toy.problem()[0]
    return search(jax.random.key(seed), method(name), problem, evaluations, **options)


def best(state, problem):
    return scores(state, problem).max()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("evaluations", [1, 2, 7, 20])
def test_charged_exactly_and_within_budget(name, evaluations):
    problem, asked = toy.problem()
    state = run(name, evaluations, problem=problem)
    assert len(asked) == state.evaluations == evaluations
    assert asked == list(state.architectures)
    assert all(toy.cost(one) <= 400 for one in asked)
    assert len({problem.identity(one) for one in asked}) == evaluations == len(state.seen)
    assert state.costs.params.tolist() == [toy.cost(one) for one in asked]
    assert scores(state, problem).tolist() == [toy.value(one) for one in asked]
    assert len(state.seconds) == evaluations and (np.diff(state.seconds) >= 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_stopped_after_any_step_it_ends_as_if_it_had_not_stopped(name):
    kept = []
    straight = run(name, 17, on_state=kept.append)
    for state in kept[:: max(len(kept) // 3, 1)]:
        resumed = run(name, 17, state=state)
        assert resumed.architectures == straight.architectures
        for one, other in zip(resumed, straight, strict=True):
            if one is not resumed.seconds:
                np.testing.assert_equal(one, other)


@pytest.mark.parametrize("name", METHODS)
def test_pure_in_the_key(name):
    runs = [run(name, 9, seed=seed).architectures for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_evolution_local_search_and_generate_beat_random():
    names = ("random", "evolution", "local_search", "generate")
    problem = toy.problem()[0]
    means = {
        name: np.mean([best(run(name, 40, seed=s), problem) for s in range(3)]) for name in names
    }
    assert min(means[name] for name in names[1:]) > means["random"]


def test_variations_ranked_before_a_score_help_where_the_rank_is_true():
    problem = toy.problem()[0]
    knowing = problem.generators._replace(
        features=lambda some: np.array([[toy.value(one)] for one in some], float).reshape(-1, 1),
        prior=lambda rows: rows[:, 0],
    )
    problem = problem._replace(generators=knowing)
    found = {}
    for generations in (0, 3):
        few = method("generate", generations=generations)
        states = [search(jax.random.key(s), few, problem, 3) for s in range(3)]
        found[generations] = np.mean([best(state, problem) for state in states])
    assert found[3] > found[0]


def test_later_rounds_build_on_what_was_scored():
    """Without optimism: there is nothing to learn from these features but the costs."""
    problem, found = toy.problem()[0], {}
    for batch in (4, 24):
        rounds = method("generate", generations=0, batch=batch, optimism=0.0)
        states = [search(jax.random.key(s), rounds, problem, 24) for s in range(3)]
        found[batch] = np.mean([best(state, problem) for state in states])
    assert found[4] > found[24]


def test_cells_of_the_best_stand_in_half_of_the_places_of_fresh_networks():
    problem = toy.problem()[0]
    fresh, (elite,) = problem.sample(jax.random.key(0), 200), run("macro_only", 1).architectures
    mixed = with_cells_of(jax.random.key(1), fresh, [elite], 0.5)
    assert with_cells_of(jax.random.key(1), fresh, [elite], 0.0) == fresh
    assert [one.macro for one in mixed] == [one.macro for one in fresh]
    cells = [cell for one in mixed for cell in one.cells]
    assert set(cells) <= {toy.CELL, *elite.cells}
    assert 0.4 < np.mean([cell in elite.cells for cell in cells]) < 0.6


def test_settings_go_to_the_methods_of_the_same_step():
    groups = {"evolution": {"population": 7}, "generate": {"batch": 3}}
    for name, field, value in [
        ("evolution", "population", 7),
        ("cells_only", "batch", 3),
        ("generate", "batch", 3),
        ("macro_only", "batch", 3),
        ("paper", "population", 512),
    ]:
        assert getattr(configured(name, groups).settings, field) == value
    with pytest.raises(ValueError, match="`method` must be one of .*got 'evolutoin'"):
        configured("evolutoin", groups)
    with pytest.raises(ValueError, match="settings of `evolution` must be among.*got 'size'"):
        configured("evolution", {"evolution": {"size": 7}})


def test_everything_proposed_is_noted_with_its_round():
    state = run("generate", 6)
    proposed = state.proposed
    assert {len(column) for column in proposed} == {len(proposed.params)}
    assert ((proposed.round == 0) & proposed.fresh).sum() == 100
    assert ((proposed.round == 1) & proposed.fresh).sum() == 12
    assert set(proposed.round) == {0, 1} and state.round == 2
    assert ((proposed.params <= 400) == proposed.inside).all()
    assert set(state.costs.params) <= set(proposed.params)


def test_evolution_keeps_the_youngest():
    state = run("evolution", 20)
    assert state.population == tuple(range(14, 20))


def test_local_search_takes_what_is_better_and_starts_again():
    kept = []
    run("local_search", 40, on_state=kept.append)
    problem, restarts = toy.problem()[0], 0
    for before, after in zip(kept, kept[1:], strict=False):
        fitness, old, new = scores(after, problem), before.population[0], after.population[0]
        newest = after.evaluations - 1
        if new != old and newest - 1 - old >= 4:
            restarts += 1
        elif new != old:
            assert new == newest and fitness[new] > fitness[old]
        else:
            assert fitness[newest] <= fitness[old]
    assert restarts


def test_cells_only_keeps_one_macro_that_the_budget_fills_and_macro_only_random_cells():
    state = run("cells_only", 12)
    assert len({one.macro for one in state.architectures}) == 1
    widths = [(s.channels, s.repeats) for s in state.architectures[0].macro.stages]
    assert widths == [(16, 2), (24, 2), (48, 2), (96, 2)]  # 368 and the ops: no other comes nearer
    assert len({one.cells for one in state.architectures}) == 12
    cells = {cell for one in run("macro_only", 6).architectures for cell in one.cells}
    assert toy.CELL not in cells and len(cells) > 6


def test_cells_only_has_the_generators_cells_and_varies_one_at_a_time():
    problem, asked = toy.problem()[0], []

    def fill(key, macros):
        asked.extend(stage.cluster for one in macros for stage in one.stages)
        return toy.generators().fill(key, macros)

    problem = problem._replace(generators=problem.generators._replace(fill=fill))
    only = levels.cells_only(jax.random.key(0), problem).generators
    fresh = only.propose(jax.random.key(1), 40)
    assert len({one.macro for one in fresh}) == 1 and {c for one in fresh for c in one.cells} == {
        toy.CELL
    }
    assert set(asked) == set(range(toy.NUM_CLUSTERS)) and len(asked) == 160
    varied = only.vary(jax.random.key(2), fresh)
    changed = [
        [old != new for old, new in zip(one.cells, other.cells, strict=True)]
        for one, other in zip(fresh, varied, strict=True)
    ]
    assert {sum(places) for places in changed} == {1} and np.any(changed, 0).all()
    assert only.fit(varied) == varied


def test_impossible_budget_is_an_error():
    problem, asked = toy.problem(params=4)
    problem = problem._replace(sample=lambda key, num: toy.problem()[0].sample(key, 4))
    says = {
        "generate": "none of 100 generated",
        "macro_only": "none of 100 generated",
        "paper": "none of 4096 mutants",
        "cells_only": "no size of",
    }
    for name in METHODS:
        if name == "paper":
            continue  # thousands of draws; the message is the same kind
        with pytest.raises(BudgetError, match=says.get(name, "random architectures fit")):
            run(name, 4, problem=problem)
    assert not asked


def test_scores_that_are_not_finite_never_win():
    assert finite(np.array([np.nan, -np.inf, 2.0])).tolist() == [-np.inf, -np.inf, 2.0]
    problem = toy.problem()[0]
    broken = problem._replace(measure=lambda some: np.full((len(some), 1), np.nan))
    for name in METHODS:
        assert (scores(run(name, 8, problem=broken), broken) == -np.inf).all()


def test_ranks_are_taken_over_all_that_was_scored():
    """An ensemble's scores are computed anew with every network."""
    problem = toy.problem()[0]._replace(
        names=("value", "cost"),
        measure=lambda some: np.array([[toy.value(a), -toy.cost(a)] for a in some], float),
        combine=lambda parts: parts.argsort(0).argsort(0).sum(1).astype(float),
    )
    for name in METHODS:
        state = run(name, 12, problem=problem)
        assert state.parts.shape == (12, 2)
        assert scores(state, problem).sum() == 12 * 11


def test_fits_reads_every_bound():
    costs = Costs(*(np.array([1, 2, 3]) * k for k in (1, 10, 1, 1, 100)))
    assert fits(costs, Budget()).tolist() == [True] * 3
    assert fits(costs, Budget(params=2)).tolist() == [True, True, False]
    assert fits(costs, Budget(macs=10)).tolist() == [True, False, False]
    assert fits(costs, Budget(params=3, activation_memory=200)).tolist() == [True, True, False]


@pytest.mark.parametrize("name", METHODS)
def test_a_budget_of_latency_is_kept(name):
    asked_of_latency = []

    def latency(architectures):
        asked_of_latency.extend(architectures)
        return np.array([0.1 * len(one.macro.stages) for one in architectures])

    problem, asked = toy.problem()
    problem = problem._replace(budget=Budget(params=400, latency_ms=0.4), latency=latency)
    run(name, 6, problem=problem)
    assert len(asked) == 6
    assert all(len(one.macro.stages) <= 4 for one in asked)
    assert all(toy.cost(one) <= 400 for one in asked_of_latency)  # others are not predicted


def test_a_budget_of_latency_needs_a_predictor():
    problem = toy.problem()[0]._replace(budget=Budget(latency_ms=1.0))
    with pytest.raises(ValueError, match="`problem.latency` must predict"):
        run("random", 1, problem=problem)


def test_a_search_that_finds_nothing_new_ends_early():
    """Generators that know three networks: they are scored once, and the search is over."""
    problem, asked = toy.problem(params=100_000)
    known = problem.sample(jax.random.key(0), 3)
    few = problem.generators._replace(
        propose=lambda key, num: known, vary=lambda key, parents: list(parents)
    )
    problem = problem._replace(generators=few, mutate=lambda key, one: one)
    state = run("generate", 8, problem=problem)
    assert state.evaluations == len(asked) == 3 and state.exhausted
