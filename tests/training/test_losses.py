"""Losses are least where the prediction is right, mean over places, and agree with scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from nasgen.training.losses import LOSSES
from nasgen.types import KINDS

SHAPES = {"flat": (), "series": (7,), "image": (4, 5)}


def perfect(kind: str, places: tuple[int, ...], rng) -> tuple[np.ndarray, np.ndarray]:
    """Targets of a kind, and logits that predict them with certainty."""
    if KINDS[kind].loss == "cross_entropy":
        targets = rng.integers(0, 3, (6, *places)).astype(np.int32)
        return 60 * np.eye(3, dtype=np.float32)[targets], targets
    if kind == "multi_label":
        targets = rng.integers(0, 2, (6, *places, 3)).astype(np.float32)
        return 120 * targets - 60, targets
    targets = rng.normal(size=(6, *places, 3)).astype(np.float32)
    return targets, targets


@pytest.mark.parametrize("places", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_prediction_has_no_loss_and_any_other_has_more(kind, places):
    logits, targets = perfect(kind, places, np.random.default_rng(0))
    loss = jax.jit(LOSSES[KINDS[kind].loss])
    found = np.asarray(loss(logits, targets))
    assert found.shape == (6,) and np.allclose(found, 0, atol=1e-6)
    wrong = -logits - 1
    assert np.mean(np.asarray(loss(wrong, targets)) > 0.1) > 0.5
    # Examples do not see each other, and an example's loss is the mean over its places.
    np.testing.assert_array_equal(loss(wrong[2:3], targets[2:3])[0], loss(wrong, targets)[2])
    if places:
        rows = [loss(wrong[:, i], targets[:, i]) for i in range(places[0])]
        np.testing.assert_allclose(loss(wrong, targets), np.mean(rows, 0), rtol=1e-5)


def test_values_are_scikit_learns():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(50, 4)).astype(np.float32)
    classes, labels = rng.integers(0, 4, 50), rng.integers(0, 2, (50, 4)).astype(np.float32)
    found = LOSSES["cross_entropy"](jnp.asarray(logits), jnp.asarray(classes)).mean()
    odds = np.exp(logits.astype(float))
    odds /= odds.sum(1, keepdims=True)
    assert float(found) == pytest.approx(metrics.log_loss(classes, odds, labels=range(4)), 1e-5)
    found = LOSSES["binary_cross_entropy"](jnp.asarray(logits), jnp.asarray(labels)).mean()
    chances = 1 / (1 + np.exp(-logits.astype(float)))
    wanted = np.mean([metrics.log_loss(labels[:, i], chances[:, i]) for i in range(4)])
    assert float(found) == pytest.approx(wanted, 1e-5)
    found = LOSSES["mean_squared_error"](jnp.asarray(logits), jnp.asarray(labels)).mean()
    assert float(found) == pytest.approx(metrics.mean_squared_error(labels, logits), 1e-5)


def test_classes_may_be_distributions():
    logits = jax.random.normal(jax.random.key(0), (5, 3, 4))
    classes = jnp.arange(15).reshape(5, 3) % 4
    loss = LOSSES["cross_entropy"]
    whole = loss(logits, jax.nn.one_hot(classes, 4))
    np.testing.assert_allclose(loss(logits, classes), whole, rtol=1e-6)
    assert (loss(logits, jnp.full((5, 3, 4), 0.25)) >= np.log(4) - 1e-6).all()  # Gibbs
