"""The state of a training run, and one step of it: `step(state, batch) -> state, metrics`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

# loss_fn(params, model_state, batch, key) -> (loss, (model_state, metrics)); metrics are scalars.
LossFn = Callable[[PyTree, PyTree, PyTree, Array], tuple[Array, tuple[PyTree, dict[str, Array]]]]


class TrainState(NamedTuple):
    """Everything a run continues from.

    step: finished steps. model_state: what the model changes without gradients (batch norm's
    statistics). key: step `i` draws from `fold_in(key, i)`, the key itself never changes.
    average: a moving average of `(params, model_state)`, or `()` where none is kept.
    """

    step: Int[Array, ""]
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    key: Key[Array, ""]
    average: PyTree


def init_state(
    params: PyTree,
    tx: optax.GradientTransformation,
    key: Key[Array, ""],
    *,
    model_state: PyTree = (),
    average: bool = False,
) -> TrainState:
    """The state before the first step; `average` keeps a moving average of the weights."""
    kept = (params, model_state) if average else ()
    return TrainState(jnp.zeros((), jnp.int32), params, model_state, tx.init(params), key, kept)


def averaged(state: TrainState) -> tuple[PyTree, PyTree]:
    """`(params, model_state)` to evaluate with: the moving average where one is kept."""
    return state.average or (state.params, state.model_state)


def train_step(
    loss_fn: LossFn, tx: optax.GradientTransformation, *, average_decay: float = 0.999
) -> Callable[[TrainState, PyTree], tuple[TrainState, dict[str, Array]]]:
    """The pure function of one step. Its metrics are those of `loss_fn` and `loss` itself."""

    def step(state: TrainState, batch: PyTree) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(state.key, state.step)
        (loss, (model_state, metrics)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params, state.model_state, batch, key
        )
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = state.average and _decayed(
            state.average, (params, model_state), state.step, average_decay
        )
        done = TrainState(state.step + 1, params, model_state, opt_state, state.key, average)
        return done, {**metrics, "loss": loss}

    return step


def _decayed(average: PyTree, new: PyTree, step: Int[Array, ""], decay: float) -> PyTree:
    """Moves the average; early steps weigh more, so the initial weights are soon forgotten."""
    kept: Float[Array, ""] = jnp.minimum(decay, (1.0 + step) / (10.0 + step))

    def move(old: Any, value: Any) -> Any:
        if not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        return (kept * old + (1.0 - kept) * value).astype(value.dtype)

    return jax.tree.map(move, average, new)
