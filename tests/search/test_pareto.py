"""The Pareto set against its definition, the hypervolume against a count of points."""

import numpy as np
import pytest

from nasgen.search.pareto import hypervolume, objectives, pareto_set


def _dominated(points):
    """By the definition, row by row."""
    found = []
    for one in points:
        others = (points <= one).all(1) & (points < one).any(1)
        found.append(bool(others.any()))
    return np.array(found)


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_the_set_is_what_nobody_dominates(columns):
    rng = np.random.default_rng(columns)
    for _ in range(20):
        points = rng.integers(0, 6, (40, columns)).astype(float)  # many are equal
        assert (pareto_set(points) == ~_dominated(points)).all()


def test_rows_that_are_not_finite_are_never_in_it():
    points = np.array([[np.nan, 0.0], [np.inf, 0.0], [1.0, 1.0]])
    assert pareto_set(points).tolist() == [False, False, True]
    assert pareto_set(points[:2]).tolist() == [False, False]


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_hypervolume_is_the_share_of_the_box_that_is_dominated(columns):
    rng = np.random.default_rng(0)
    points, random = rng.random((12, columns)), rng.random((200_000, columns))
    dominated = (points[None] <= random[:, None]).all(2).any(1).mean()
    found = hypervolume(points, np.ones(columns), np.zeros(columns))
    assert found == pytest.approx(dominated, abs=0.005)
    assert hypervolume(3 + 2 * points, np.full(columns, 5.0), np.full(columns, 3.0)) == (
        pytest.approx(found)
    )


def test_hypervolume_only_counts_the_box():
    assert hypervolume(np.array([[2.0, 0.0]]), np.ones(2), np.zeros(2)) == 0
    assert hypervolume(np.array([[-1.0, -1.0]]), np.ones(2), np.zeros(2)) == 1
    assert hypervolume(np.array([[np.inf, 0.0]]), np.ones(2), np.zeros(2)) == 0
    with pytest.raises(ValueError, match="`worst` must lie above"):
        hypervolume(np.ones((1, 2)), np.zeros(2), np.zeros(2))


def test_fitness_is_turned_round():
    points = objectives(np.array([1.0, 2.0, -np.inf]), np.array([10, 20, 5]))
    assert points.tolist() == [[-1, 10], [-2, 20], [np.inf, 5]]
    assert pareto_set(points).tolist() == [True, True, False]
