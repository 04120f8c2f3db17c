"""Pairing by optimal transport: a permutation, shorter paths, conditions left their noise."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import kstest

from nasgen.models.flow_pairing import paired_noise


def data(seed=0, num=128):
    rng = np.random.default_rng(seed)
    conditions = rng.standard_normal((num, 1))
    latents = np.concatenate([3 * conditions, rng.standard_normal((num, 1))], 1)
    return latents.astype(np.float32), conditions.astype(np.float32)


@pytest.mark.parametrize("weight", [0.0, 1.0, 1e6])
def test_it_is_the_same_noise_in_another_order(weight):
    latents, conditions = data()
    drawn = np.random.default_rng(7).standard_normal(latents.shape).astype(np.float32)
    paired = paired_noise(np.random.default_rng(7), latents, conditions, weight=weight)
    assert sorted(map(tuple, paired)) == sorted(map(tuple, drawn))


def test_a_heavy_weight_leaves_all_noise_where_it_was_drawn():
    latents, _ = data()
    conditions = np.arange(len(latents), dtype=np.float32)[:, None]
    drawn = np.random.default_rng(7).standard_normal(latents.shape).astype(np.float32)
    paired = paired_noise(np.random.default_rng(7), latents, conditions, weight=1e6)
    np.testing.assert_array_equal(paired, drawn)


def test_paths_are_the_shortest():
    latents, conditions = data(num=64)
    paired = paired_noise(np.random.default_rng(1), latents, conditions)
    cost = ((paired[:, None] - latents[None]) ** 2).sum(-1)
    rows, columns = linear_sum_assignment(cost)
    np.testing.assert_allclose(np.trace(cost), cost[rows, columns].sum(), rtol=1e-5)


def test_weight_leaves_every_condition_its_noise():
    """Unweighted, examples of a high condition get the noise on their side alone; with weight
    theirs stays normal, as sampling will draw it."""
    far = {weight: [] for weight in (0.0, 100.0)}
    for seed in range(40):
        latents, conditions = data(seed)
        for weight, found in far.items():
            rng = np.random.default_rng(1000 + seed)
            paired = paired_noise(rng, latents, conditions, weight=weight)
            found.append(paired[conditions[:, 0] > 1, 0])
    means = {weight: np.concatenate(found).mean() for weight, found in far.items()}
    assert means[0.0] > 1 and abs(means[100.0]) < 0.2
    assert kstest(np.concatenate(far[100.0]), "norm").statistic < 0.1
