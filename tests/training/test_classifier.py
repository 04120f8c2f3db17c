"""A small network learns the digits; evaluation is exact; the recipe does what it says."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nasgen.data import load
from nasgen.training.classifier import (
    Recipe,
    classification_loss,
    evaluate,
    optimizer,
    train_classifier,
)


class Linear(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        return nn.Dense(10, kernel_init=nn.initializers.zeros)(x.reshape(len(x), -1))


class Network(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        for width in (8, 16):
            x = nn.Conv(width, (3, 3), (2, 2), use_bias=False)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        return nn.Dense(10)(x.mean((1, 2)))


@pytest.fixture(scope="module")
def data():
    return load("digits", seed=0)


@pytest.fixture(scope="module")
def variables(data):
    return jax.jit(Network().init)(jax.random.key(0), data.train.x[:1])


def test_learns_digits(data, variables, tmp_path):
    recipe = Recipe(steps=200, eval_every=20, ema=0.98)
    trained = train_classifier(
        Network(), variables, data, recipe, seed=0, workdir=tmp_path, label=None
    )
    assert trained.accuracy > 0.9
    evals = [row for row in trained.history if row["kind"] == "eval"]
    assert [row["step"] for row in evals] == list(range(20, 201, 20))
    best = max(row["accuracy"] for row in evals)
    assert trained.accuracy == best
    assert trained.step == [row["step"] for row in evals if row["accuracy"] == best][-1]
    # What is returned is what was measured.
    apply_fn = partial(Network().apply, train=False)
    scores = evaluate(apply_fn, trained.variables, *data.validation, batch_size=64)
    assert scores["accuracy"] == trained.accuracy
    assert jax.tree.structure(trained.variables) == jax.tree.structure(variables)
    again = train_classifier(
        Network(), variables, data, recipe, seed=0, workdir=tmp_path, label=None
    )
    assert again.compile_seconds == 0 and again.history == trained.history
    jax.tree.map(np.testing.assert_array_equal, again.variables, trained.variables)


def test_network_without_statistics_trains(data):
    module = Linear()
    variables = module.init(jax.random.key(0), data.train.x[:1])
    trained = train_classifier(module, variables, data, Recipe(steps=2), seed=0, label=None)
    assert trained.variables.keys() == {"params"}


def test_evaluation_is_exact_and_compiles_once(data, variables):
    traces = []

    def apply_fn(weights, x):
        traces.append(x.shape)
        return Network().apply(weights, x, train=False)

    x, y = data.validation
    logits = Network().apply(variables, x)
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    for count in (1, 63, 64, 100, len(y)):
        scores = evaluate(apply_fn, variables, x[:count], y[:count], batch_size=64)
        right = np.asarray(logits)[:count].argmax(-1) == y[:count]
        assert scores["accuracy"] == right.sum() / count
        assert np.isclose(scores["loss"], np.mean(nll[:count]), rtol=1e-5)
    assert traces == [(64, 8, 8, 1)]


def test_weight_decay_spares_norms_and_biases(variables):
    tx = optimizer(Recipe(weight_decay=0.1, warmup_fraction=0.0))
    params = variables["params"]
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zeros, tx.init(params), params)
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


def test_label_smoothing_by_hand(variables, data):
    x, y = jnp.asarray(data.train.x[:8]), data.train.y[:8]
    recipe = Recipe(label_smoothing=0.2, max_shift=0)
    state = {"batch_stats": variables["batch_stats"]}
    loss_fn = classification_loss(Network(), recipe)
    loss, (new_state, _) = loss_fn(variables["params"], state, (x, y), jax.random.key(0))
    logits, _ = Network().apply(variables, x, train=True, mutable=["batch_stats"])
    log_p = np.asarray(jax.nn.log_softmax(logits))
    targets = 0.8 * np.eye(10)[y] + 0.02
    assert np.isclose(loss, -(targets * log_p).sum(-1).mean(), rtol=1e-5)
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), new_state, state)
    assert all(jax.tree.leaves(moved))
