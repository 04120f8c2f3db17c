"""What a search believes: the prior where nothing was scored, the scores where they are known."""

import numpy as np
from scipy.stats import spearmanr

from nasgen.search.belief import believe, choose, expect

RNG = np.random.default_rng(0)
REFERENCE = RNG.normal(size=(300, 4)) * [1, 3, 0.5, 0] + 5  # the last feature does not vary


def prior(rows):
    return rows[:, 0]


def truth(rows):
    """What the prior gets wrong depends on another feature."""
    return prior(rows) + 0.3 * np.sin(rows[:, 1])


def known(num):
    rows = REFERENCE[:num]
    return believe(prior, REFERENCE, rows, truth(rows)), rows


def test_before_any_score_it_is_the_prior_everywhere_as_sure():
    belief = known(0)[0]
    mean, deviation = expect(belief, REFERENCE)
    np.testing.assert_allclose(mean, prior(REFERENCE))
    np.testing.assert_allclose(deviation, deviation[0])
    assert 0.2 < deviation[0] / prior(REFERENCE).std() < 0.8


def test_it_is_less_sure_far_from_what_is_written():
    away = REFERENCE.mean(0) + np.outer([0, 2, 8], REFERENCE.std(0))
    assert (np.diff(expect(known(20)[0], away).deviation) > 0).all()


def test_scores_are_believed_where_they_are_known():
    belief, rows = known(40)
    mean, deviation = expect(belief, rows)
    np.testing.assert_allclose(mean, truth(rows), atol=0.1)
    assert deviation.max() < 0.5 * np.median(expect(belief, REFERENCE[40:]).deviation)


def test_what_is_expected_of_others_comes_nearer_to_the_truth():
    rows = REFERENCE[200:]
    errors = [np.abs(expect(known(num)[0], rows).mean - truth(rows)).mean() for num in (0, 20, 200)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < errors[0] / 3


def test_it_is_as_sure_as_it_is_right():
    belief, rows = known(60)[0], REFERENCE[60:]
    mean, deviation = expect(belief, rows)
    inside = np.abs(truth(rows) - mean) < 2 * deviation
    assert inside.mean() > 0.9


def test_an_error_that_grows_leads_on():
    """Beyond all that was scored, as long as the prior's error is a line."""
    rows = REFERENCE[np.argsort(REFERENCE[:, 1])]
    few, far = rows[:150], rows[-20:]
    belief = believe(prior, REFERENCE, few, prior(few) + few[:, 1])
    assert spearmanr(expect(belief, far).mean, prior(far) + far[:, 1]).statistic > 0.9


def test_the_prior_is_never_turned_round():
    """Whatever few scores of networks that are alike in the prior say by chance."""
    best = REFERENCE[np.argsort(prior(REFERENCE))[-8:]]
    belief = believe(prior, REFERENCE, best, 7 - 0.05 * prior(best))
    said = expect(belief, REFERENCE).mean
    assert spearmanr(said, prior(REFERENCE)).statistic > 0.5


def test_a_prior_that_knows_nothing_leaves_it_to_the_scores():
    rows, others = REFERENCE[:150], REFERENCE[150:]
    belief = believe(lambda x: np.zeros(len(x)), REFERENCE, rows, truth(rows))
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
    same = believe(lambda x: np.ones(len(x)), REFERENCE, rows, np.ones(8))
    assert np.isfinite(expect(same, REFERENCE)).all()
