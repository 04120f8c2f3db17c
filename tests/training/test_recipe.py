"""The recipe does what it says: its schedule, its decay, and what it makes of a batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nasgen.data import load
from nasgen.training.recipe import Recipe, check_recipe, optimizer, preparation

PLAIN = Recipe(max_shift=0, label_smoothing=0.0)


@pytest.fixture(scope="module")
def data():
    return load("digits", seed=0)


@pytest.fixture(scope="module")
def batch(data):
    return jnp.asarray(data.train.x[:32]), jnp.asarray(data.train.y[:32])


PARAMS = {
    "conv": {"kernel": jnp.ones((3, 3, 1, 2))},
    "norm": {"scale": jnp.ones(2), "bias": jnp.ones(2)},
    "dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)},
}


def test_weight_decay_spares_norms_and_biases():
    tx = optimizer(Recipe(weight_decay=0.1, warmup_fraction=0.0))
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = tx.update(zeros, tx.init(PARAMS), PARAMS)
    for path, update in jax.tree_util.tree_leaves_with_path(updates):
        assert bool(jnp.any(update != 0)) == ("kernel" in jax.tree_util.keystr(path)), path


def test_learning_rate_warms_up_and_decays():
    recipe = Recipe(steps=100, learning_rate=0.5, momentum=0.0, weight_decay=0.0)
    tx, params = optimizer(recipe), {"w": jnp.zeros((1, 1))}
    rates, opt_state = [], tx.init(params)
    for _ in range(100):
        updates, opt_state = tx.update({"w": jnp.ones((1, 1))}, opt_state, params)
        rates.append(-float(updates["w"][0, 0]))
    assert np.isclose(max(rates), 0.5) and rates.index(max(rates)) == 5
    assert np.allclose(np.diff(rates[:6]), (0.5 - 0.1) / 5)
    assert (np.diff(rates[5:]) < 0).all() and 0 < rates[-1] < 1e-3


def prepared(recipe, data, batch, key=0):
    return jax.jit(preparation(recipe, data))(batch, jax.random.key(key))


def test_a_plain_recipe_leaves_images_alone_and_gives_one_hot_labels(data, batch):
    x, targets = prepared(PLAIN, data, batch)
    np.testing.assert_array_equal(x, batch[0])
    np.testing.assert_array_equal(targets, np.eye(10)[batch[1]])


def test_label_smoothing_by_hand(data, batch):
    _, targets = prepared(PLAIN._replace(label_smoothing=0.2), data, batch)
    np.testing.assert_allclose(targets, 0.8 * np.eye(10)[batch[1]] + 0.02, rtol=1e-6)


@pytest.mark.parametrize(
    "option",
    [
        dict(max_shift=2),
        dict(flip=True),
        dict(min_crop=0.3),
        dict(auto_augment="imagenet"),
        dict(erasing=1.0),
        dict(mixup=1.0),
    ],
    ids=lambda option: next(iter(option)),
)
def test_each_option_changes_images_by_the_key_alone(option, data, batch):
    prepare = partial(prepared, PLAIN._replace(**option), data, batch)
    x, targets = prepare()
    again, _ = prepare()
    other, _ = prepare(key=1)
    assert x.shape == batch[0].shape and x.dtype == batch[0].dtype
    assert (x != batch[0]).any() and (x != other).any()
    np.testing.assert_array_equal(x, again)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    if "mixup" not in option:
        np.testing.assert_array_equal(targets.argmax(1), batch[1])


def test_options_do_not_change_each_others_draws(data, batch):
    """Shifts and flips are the same whether or not others are on."""
    moved = PLAIN._replace(max_shift=2, flip=True)
    x, _ = prepared(moved, data, batch)
    erased, _ = prepared(moved._replace(erasing=1.0), data, batch)
    kept = np.asarray(erased != 0)
    assert 0 < kept.mean() < 1
    np.testing.assert_array_equal(np.asarray(erased)[kept], np.asarray(x)[kept])


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (Recipe(auto_augment="cifar"), r"one of \['cifar10', 'imagenet'\] or None; got 'cifar'"),
        (Recipe(auto_augment="cifar"), "Did you mean 'cifar10'"),
        (Recipe(batch_size=64, micro_batches=3), "multiple of `micro_batches`; got 64 and 3"),
        (Recipe(distillation=0.5), "`teacher` must be given .* got 0.5 and no teacher"),
    ],
)
def test_what_cannot_be_is_refused(recipe, says):
    with pytest.raises(ValueError, match=says):
        check_recipe(recipe, teacher=False)
