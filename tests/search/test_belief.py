"""What a search believes: the prior where nothing was scored, the scores where they are known."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from nasgen.search.belief import believe, choose, expect

RNG = np.random.default_rng(0)
REFERENCE = RNG.normal(size=(300, 4)) * [1, 3, 0.5, 0] + 5  # the last feature does not vary


def prior(rows):
    return rows[:, 0]


def truth(rows):
    """What the prior gets wrong depends on another feature."""
    return prior(rows) + 0.3 * np.sin(rows[:, 1])


def known(num, **options):
    rows = REFERENCE[:num]
    options = {"same_units": True, **options}
    return believe(prior, REFERENCE, rows, truth(rows), **options), rows


@pytest.mark.parametrize("same_units", [True, False])
def test_before_any_score_it_is_the_prior_everywhere_as_unsure(same_units):
    belief = known(0, same_units=same_units)[0]
    mean, deviation = expect(belief, REFERENCE)
    np.testing.assert_allclose(mean, prior(REFERENCE))
    np.testing.assert_allclose(deviation, deviation[0])
    assert 0.1 < deviation[0] / prior(REFERENCE).std() < 1


def test_scores_are_believed_where_they_are_known_and_the_prior_far_away():
    belief, rows = known(40)
    mean, deviation = expect(belief, rows)
    np.testing.assert_allclose(mean, truth(rows), atol=0.1)
    far = rows + [0, 1e3, 0, 0]
    unsure = expect(belief, far)
    np.testing.assert_allclose(unsure.mean, belief.intercept + prior(far))
    assert deviation.max() < 0.3 * unsure.deviation.min()


def test_what_is_expected_of_others_comes_nearer_to_the_truth():
    rows = REFERENCE[200:]
    errors = [np.abs(expect(known(num)[0], rows).mean - truth(rows)).mean() for num in (0, 20, 200)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < errors[0] / 3


def test_other_units_are_learned():
    rows, others = REFERENCE[:60], REFERENCE[60:]
    belief = believe(prior, REFERENCE, rows, 700 - 1e4 + 1e4 * truth(rows), same_units=False)
    assert 0.8e4 < belief.slope < 1.2e4
    assert spearmanr(expect(belief, others).mean, truth(others)).statistic > 0.95


def test_the_prior_is_never_turned_round():
    """Whatever few scores of networks that are alike in the prior say by chance."""
    rows = REFERENCE[np.argsort(prior(REFERENCE))[-8:]]
    for same_units in (True, False):
        belief = believe(prior, REFERENCE, rows, -prior(rows), same_units=same_units)
        assert belief.slope == (1.0 if same_units else 0.0)


def test_a_prior_that_knows_nothing_leaves_it_to_the_scores():
    rows, others = REFERENCE[:150], REFERENCE[150:]
    belief = believe(lambda x: np.zeros(len(x)), REFERENCE, rows, truth(rows), same_units=False)
    assert spearmanr(expect(belief, others).mean, truth(others)).statistic > 0.8


def test_networks_scored_together_are_unlike_each_other():
    """Twins of the best would tell nothing new; without optimism they are the best."""
    twins = np.repeat(REFERENCE[np.argsort(-prior(REFERENCE))[:8]], 20, axis=0)
    belief = known(0)[0]
    expected = expect(belief, twins)
    chosen = choose(belief, twins, expected, 8, optimism=2.0)
    assert len(set(chosen)) == 8 and len(np.unique(twins[chosen], axis=0)) >= 5
    greedy = choose(belief, twins, expected, 8, optimism=0.0)
    assert len(np.unique(twins[greedy], axis=0)) == 1
    assert sorted(choose(belief, twins[:3], expect(belief, twins[:3]), 8, 1.0)) == [0, 1, 2]


def test_no_network_makes_no_choice_and_equal_scores_no_error():
    belief, rows = known(8)
    none = np.zeros((0, 4))
    assert choose(belief, none, expect(belief, none), 4, 1.0) == []
    same = believe(lambda x: np.ones(len(x)), REFERENCE, rows, np.ones(8), same_units=False)
    assert np.isfinite(expect(same, REFERENCE)).all()
