"""Successive halving: who is trained for how long, and who wins."""

import jax
import numpy as np
import pytest

from nasgen.search.halving import successive_halving
from tests.search import toy

NAMES = "abcdefgh"
FINALISTS = toy.problem()[0].sample(jax.random.key(0), len(NAMES))
NAME = dict(zip(FINALISTS, NAMES, strict=True))
TRUE = dict(zip(NAMES, (0.1, 0.8, 0.3, 0.7, np.nan, 0.9, 0.2, 0.6), strict=True))


@pytest.fixture
def rungs():
    return []


@pytest.fixture
def train(rungs):
    """A stand-in for training that knows the accuracies, and notes what it was asked for."""

    def accuracies(finalists, steps):
        rungs.append(("".join(NAME[one] for one in finalists), steps))
        return np.array([TRUE[NAME[one]] for one in finalists])

    return accuracies


def test_each_rung_trains_the_better_part_longer(train, rungs):
    halved = successive_halving(FINALISTS, train, steps=10)
    assert rungs == [("abcdefgh", 10), ("bdfh", 20), ("bf", 40)]
    assert halved.steps.tolist() == [10, 40, 10, 20, 10, 40, 10, 20]
    assert "".join(NAMES[i] for i in halved.order) == "fbdhcgae"


def test_by_three_and_alone(train, rungs):
    successive_halving(FINALISTS, train, steps=1, factor=3)
    assert rungs == [("abcdefgh", 1), ("bf", 3)]
    assert successive_halving(FINALISTS[:1], train, steps=4).order == [0]


@pytest.mark.parametrize("options", [dict(steps=0), dict(steps=1, factor=1)])
def test_numbers_that_are_too_small(train, options):
    with pytest.raises(ValueError, match="`finalists` must not be empty, `steps` at least 1"):
        successive_halving(FINALISTS, train, **options)
