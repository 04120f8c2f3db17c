"""Every method: within the budget, charged exactly, pure in its key; and what each is for."""

import jax
import numpy as np
import pytest

from nasgen.search.baselines import draw_within, random_search, regularised_evolution
from nasgen.search.generate import generate
from nasgen.search.problem import BudgetError, Found, finite, fits
from nasgen.types import Budget, Costs
from tests.search import toy


def _generate(key, problem, num_exact, **options):
    found, _ = generate(key, problem, toy.generators(), num_exact, num_proposals=400, **options)
    return found


METHODS = {
    "random": random_search,
    "evolution": regularised_evolution,
    "generate": _generate,
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("num_exact", [1, 2, 7, 24])
def test_charged_exactly_and_within_budget(name, num_exact):
    problem, asked = toy.problem()
    found = METHODS[name](jax.random.key(0), problem, num_exact)
    assert len(asked) == len(found.scores) == len(found.architectures) == num_exact
    assert asked == found.architectures
    assert all(toy.cost(one) <= 400 for one in asked)
    assert found.scores.tolist() == [toy.value(one) for one in asked]
    assert toy.value(found.best) == found.scores.max()


@pytest.mark.parametrize("name", METHODS)
def test_pure_in_the_key(name):
    runs = [METHODS[name](jax.random.key(seed), toy.problem()[0], 12) for seed in (3, 3, 4)]
    assert runs[0].architectures == runs[1].architectures
    assert runs[0].architectures != runs[2].architectures


def test_no_method_scores_the_same_network_twice_at_random():
    problem, asked = toy.problem()
    random_search(jax.random.key(0), problem, 30)
    assert len(set(asked)) == 30
    problem, asked = toy.problem()
    _generate(jax.random.key(0), problem, 30)
    assert len(set(asked)) == 30


def test_evolution_beats_random_on_average():
    best = {
        name: np.mean(
            [METHODS[name](jax.random.key(s), toy.problem()[0], 60).scores.max() for s in range(5)]
        )
        for name in ("random", "evolution")
    }
    assert best["evolution"] > best["random"]


def test_variations_of_the_best_help():
    """More rounds at the same number of exact scores: the later ones build on what was learnt."""
    best = {
        rounds: np.mean(
            [
                _generate(jax.random.key(s), toy.problem()[0], 40, rounds=rounds).scores.max()
                for s in range(5)
            ]
        )
        for rounds in (1, 5)
    }
    assert best[5] > best[1]


def test_candidates_are_all_kept_with_their_round():
    problem, _ = toy.problem()
    found, candidates = generate(
        jax.random.key(0), problem, toy.generators(), 12, num_proposals=200, rounds=3
    )
    assert len(candidates.params) == len(candidates.inside) == len(candidates.round)
    assert candidates.round.count(0) == 200
    assert set(candidates.round) == {0, 1, 2}
    inside = np.array(candidates.params) <= 400
    assert inside.tolist() == candidates.inside
    assert len(found.scores) == 12


def test_impossible_budget_is_an_error():
    problem, asked = toy.problem(params=4)
    with pytest.raises(BudgetError, match="none of 400 generated"):
        _generate(jax.random.key(0), problem, 4)
    with pytest.raises(BudgetError, match="random architectures fit"):
        draw_within(jax.random.key(0), problem._replace(sample=lambda k, n: toy._sample(k, 4)), 1)
    assert not asked


def test_scores_that_are_not_finite_never_win():
    some = toy.problem()[0].sample(jax.random.key(0), 3)
    assert Found(some, np.array([np.nan, 1.0, np.inf]), 0.0).best == some[1]
    assert finite(np.array([np.nan, -np.inf, 2.0])).tolist() == [-np.inf, -np.inf, 2.0]


def test_fits_reads_every_bound():
    costs = Costs(*(np.array([1, 2, 3]) * k for k in (1, 10, 1, 1, 100)))
    assert fits(costs, Budget()).tolist() == [True] * 3
    assert fits(costs, Budget(params=2)).tolist() == [True, True, False]
    assert fits(costs, Budget(macs=10)).tolist() == [True, False, False]
    assert fits(costs, Budget(params=3, activation_memory=200)).tolist() == [True, True, False]


def _latency(architectures):
    return np.array([0.1 * len(one.macro.stages) for one in architectures])


@pytest.mark.parametrize("name", METHODS)
def test_a_budget_of_latency_is_kept(name):
    asked_of_latency = []

    def latency(architectures):
        asked_of_latency.extend(architectures)
        return _latency(architectures)

    problem, asked = toy.problem()
    problem = problem._replace(budget=Budget(params=400, latency_ms=0.2), latency=latency)
    found = METHODS[name](jax.random.key(0), problem, 8)
    assert len(asked) == 8
    assert all(len(one.macro.stages) <= 2 for one in found.architectures)
    assert all(toy.cost(one) <= 400 for one in asked_of_latency)  # others are not predicted


def test_a_budget_of_latency_needs_a_predictor():
    problem = toy.problem()[0]._replace(budget=Budget(latency_ms=1.0))
    with pytest.raises(ValueError, match="`problem.latency` must predict"):
        random_search(jax.random.key(0), problem, 1)


def test_a_round_that_brings_nothing_new_ends_early():
    """A generator that knows three networks: they are scored once, and the search goes on."""
    problem, asked = toy.problem(params=100_000)
    known = problem.sample(jax.random.key(0), 3)
    few = toy.generators()._replace(
        propose=lambda key, num: known, vary=lambda key, parents: list(parents)
    )
    found, candidates = generate(jax.random.key(0), problem, few, 8, num_proposals=3)
    assert len(found.scores) == len(asked) == 3
    assert max(candidates.round) == 3
