"""The state of a training run, and one step of it: `step(state, batch) -> state, metrics`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

# loss_fn(params, model_state, batch, key) -> (loss, (model_state, metrics)); metrics are scalars.
LossFn = Callable[[PyTree, PyTree, PyTree, Array], tuple[Array, tuple[PyTree, dict[str, Array]]]]
# prepare_fn(batch, key) -> batch, as the loss takes it: augmentation, which needs no gradient.
PrepareFn = Callable[[PyTree, Array], PyTree]


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
    loss_fn: LossFn,
    tx: optax.GradientTransformation,
    *,
    average_decay: float = 0.999,
    prepare_fn: PrepareFn | None = None,
    micro_batches: int = 1,
) -> Callable[[TrainState, PyTree], tuple[TrainState, dict[str, Array]]]:
    """The pure function of one step. Its metrics are those of `loss_fn` and `loss` itself.

    prepare_fn: changes the whole batch first. micro_batches: parts of the batch whose gradients
    are averaged, one after the other, in as much less memory. To rounding the step is that of the
    whole batch, unless the model takes examples together or draws: batch norm then has statistics
    of a part, dropout other masks.
    """
    gradient = _averaged_gradient(loss_fn, micro_batches)

    def step(state: TrainState, batch: PyTree) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(state.key, state.step)
        batch = batch if prepare_fn is None else prepare_fn(batch, key)
        (loss, (model_state, metrics)), grads = gradient(
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


def _averaged_gradient(loss_fn: LossFn, parts: int) -> Callable:
    """`loss_fn` and its gradient by the params, both means over so many parts of the batch."""
    gradient = jax.value_and_grad(loss_fn, has_aux=True)
    if parts == 1:
        return gradient

    def averaged_gradient(params: PyTree, model_state: PyTree, batch: PyTree, key: Array):
        # Every `parts`-th example makes a part, so that each device of a mesh has some of it.
        split = jax.tree.map(lambda a: a.reshape(-1, parts, *a.shape[1:]).swapaxes(0, 1), batch)

        def add(carry, part):
            total, model_state = carry
            index, examples = part
            (loss, (model_state, metrics)), grads = gradient(
                params, model_state, examples, jax.random.fold_in(key, index)
            )
            total = jax.tree.map(lambda a, b: a + b / parts, total, grads)
            return (total, model_state), (loss, metrics)

        start = jax.tree.map(jnp.zeros_like, params), model_state
        # On a CPU convolutions within a loop are very slow: there it is written out.
        unroll = parts if jax.default_backend() == "cpu" else 1
        (grads, model_state), seen = jax.lax.scan(
            add, start, (jnp.arange(parts), split), unroll=unroll
        )
        loss, metrics = jax.tree.map(lambda a: a.mean(0), seen)
        return (loss, (model_state, metrics)), grads

    return averaged_gradient


def _decayed(average: PyTree, new: PyTree, step: Int[Array, ""], decay: float) -> PyTree:
    """Moves the average; early steps weigh more, so the initial weights are soon forgotten."""
    kept: Float[Array, ""] = jnp.minimum(decay, (1.0 + step) / (10.0 + step))

    def move(old: Any, value: Any) -> Any:
        if not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        return (kept * old + (1.0 - kept) * value).astype(value.dtype)

    return jax.tree.map(move, average, new)
