"""The recipe does what it says: its schedule, its decay, and what it makes of a batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nasgen.data import load
from nasgen.data.arrays import from_arrays
from nasgen.data.digits import TASK as DIGITS
from nasgen.training.recipe import Recipe, check_recipe, optimizer, preparation
from nasgen.types import KINDS, Task

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


def test_shifts_and_flips_move_maps_of_targets_with_the_images():
    """Where the targets are the images themselves they stay so, whatever is done to both."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, (40, 6, 7, 1)).astype(np.float32)
    recipe = PLAIN._replace(max_shift=2, flip=True)
    for y in (x[..., 0].astype(np.int32), x + 0.25):
        data = from_arrays(x, y, seed=0)
        raw = jnp.asarray(data.train.x), jnp.asarray(data.train.y)
        moved, targets = prepared(recipe, data, raw)
        pixels = np.asarray(moved) * data.std + data.mean
        if data.task.kind == "dense_regression":
            np.testing.assert_allclose(moved, targets, atol=1e-5)  # both standardised
        else:
            np.testing.assert_array_equal(pixels[..., 0].round(), targets)
        assert (moved != raw[0]).any((1, 2, 3)).mean() > 0.9 and targets.dtype == y.dtype


def test_series_are_shifted_in_time():
    x = np.arange(400, dtype=np.float32).reshape(10, 20, 2)
    data = from_arrays(x, np.tile(np.arange(20), (10, 1)), kind="segmentation", dims=1)
    batch = jnp.asarray(data.train.x), jnp.asarray(data.train.y)
    moved, targets = prepared(PLAIN._replace(max_shift=3), data, batch)
    x = data.train.x
    steps = (np.asarray(moved)[:, 10] - x[:, 10]) / (x[0, 1] - x[0, 0])
    np.testing.assert_allclose(steps[:, 0], targets[:, 10] - 10, atol=1e-3)
    assert set(np.asarray(targets)[:, 10] - 10) <= set(range(-3, 4))
    assert len(set(np.asarray(targets)[:, 10])) > 1


def test_numbers_are_standardised_and_labels_as_they_are(batch):
    x, rng = np.asarray(batch[0]), np.random.default_rng(0)
    data = from_arrays(x, rng.normal(5, [3, 0.1], (32, 2)))
    targets = prepared(PLAIN, data, tuple(map(jnp.asarray, data.train)))[1]
    np.testing.assert_allclose(targets.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(targets.std(0), 1, atol=1e-4)
    data = from_arrays(x, rng.integers(0, 2, (32, 3)))
    smooth, raw = PLAIN._replace(label_smoothing=0.5), tuple(map(jnp.asarray, data.train))
    targets = prepared(smooth, data, raw)[1]
    np.testing.assert_array_equal(targets, data.train.y)


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
        check_recipe(recipe, DIGITS, teacher=False)


TASKS = {
    (kind, dims): Task("mine", (8,) * dims + (1,), 3, kind, one.metric, one.loss)
    for kind, one in KINDS.items()
    for dims in (1, 2)
}


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: f"{task.kind}{task.input_shape}")
def test_the_default_is_for_every_task_and_what_means_nothing_is_refused(task):
    check_recipe(Recipe(), task, teacher=False)
    options = dict(
        min_crop=0.5, flip=True, auto_augment="cifar10", erasing=0.5, mixup=0.2, distillation=0.5
    )
    refused = set()
    for option, given in options.items():
        try:
            check_recipe(Recipe(**{option: given}), task, teacher=True)
        except ValueError as error:
            assert f"`{option}` must be off for mine, {task.kind} of " in str(error)
            assert "\n" not in str(error) and f"got {given!r}" in str(error)
            refused.add(option)
    expected = {
        "classification": set(),
        "multi_label": {"distillation"},
        "regression": {"distillation", "mixup", "auto_augment"},
    }.get(task.kind, set(options) - {"flip"})
    of_images = {"min_crop", "flip", "auto_augment", "erasing"}
    assert refused == (expected | of_images if len(task.input_shape) == 2 else expected)
