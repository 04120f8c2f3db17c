"""A step over micro-batches is the step over the whole batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nasgen.training.state import init_state, train_step

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 5)).astype(np.float32), RNG.normal(size=(12, 3)).astype(np.float32)
PARAMS = {"a": RNG.normal(size=(5, 8)).astype(np.float32), "b": jnp.ones((8, 3))}
TX = optax.sgd(0.1, momentum=0.9)


def loss_fn(params, model_state, batch, key):
    """A network of two layers; its state is the sum of the means of what it was given."""
    x, y = batch
    errors = jnp.tanh(x @ params["a"]) @ params["b"] - y
    seen = {"means": model_state["means"] + x.mean(0), "calls": model_state["calls"] + 1}
    return jnp.mean(errors**2), (seen, {"error": jnp.abs(errors).mean()})


def stepped(parts: int, prepare_fn=None, steps: int = 2):
    """The state after some steps over so many parts, and the last metrics."""
    seen = {"means": jnp.zeros(5), "calls": jnp.zeros((), jnp.int32)}
    state = init_state(PARAMS, TX, jax.random.key(1), model_state=seen)
    step = jax.jit(train_step(loss_fn, TX, prepare_fn=prepare_fn, micro_batches=parts))
    for _ in range(steps):
        state, metrics = step(state, (X, Y))
    return state, metrics


def noisy(batch, key):
    x, y = batch
    return x + jax.random.uniform(key, x.shape), y


@pytest.fixture(scope="module", params=[None, noisy], ids=["plain", "prepared"])
def prepare_fn(request):
    return request.param


@pytest.fixture(scope="module")
def whole(prepare_fn):
    return stepped(1, prepare_fn)


@pytest.mark.parametrize("parts", [2, 3])
def test_micro_batches_equal_the_batch_to_rounding(parts, prepare_fn, whole):
    state, metrics = stepped(parts, prepare_fn)
    start = jax.tree.leaves(PARAMS)
    trained = jax.tree.leaves(state.params), jax.tree.leaves(whole[0].params)
    for a, b, before in zip(*trained, start, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
        assert np.abs(np.asarray(a) - before).max() > 1e-3
    assert metrics.keys() == whole[1].keys() == {"error", "loss"}
    for name in metrics:
        assert float(metrics[name]) == pytest.approx(float(whole[1][name]), abs=1e-6)


def test_the_models_state_passes_through_all_parts(whole, prepare_fn):
    """The exception that the docstring names: a batch norm would move once for each part."""
    state, _ = stepped(3, prepare_fn)
    assert int(state.model_state["calls"]) == 3 * int(whole[0].model_state["calls"]) == 6
    of_whole = 3 * np.asarray(whole[0].model_state["means"])  # means of equal parts add up to it
    np.testing.assert_allclose(state.model_state["means"], of_whole, atol=1e-5)


def test_preparation_draws_by_the_step():
    seen = []

    def watched(batch, key):
        jax.debug.callback(lambda data: seen.append(tuple(data)), jax.random.key_data(key))
        return batch

    stepped(1, watched)
    jax.effects_barrier()
    keys = [jax.random.fold_in(jax.random.key(1), step) for step in range(2)]
    assert seen == [tuple(np.asarray(jax.random.key_data(key))) for key in keys]
