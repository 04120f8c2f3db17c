"""What writes networks of a table: one of nasgen's generators, with accuracy as a condition."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from nasgen.benchmarks.tabular.table import Table
from nasgen.keys import children, generator
from nasgen.pretrained.bundle import CellBundle
from nasgen.types import Architecture

DROPPED = 0.1  # how often an example's accuracy is not told


class Refit(NamedTuple):
    """steps, batch_size, learning_rate: of a training with new labels."""

    steps: int = 40
    batch_size: int = 128
    learning_rate: float = 3e-3


class Writer(NamedTuple):
    """params: before any network is trained.

    refit: `(key, params, rows, accuracy, settings) -> params` after some steps with the accuracies
        (standardised) that these rows are thought to have.
    draw: `(key, params, num, asked) -> rows`, each once, of `num` networks that are asked for
        accuracies between the two of `asked`, or, where that is None, for any.
    """

    params: Any
    refit: Callable[..., Any]
    draw: Callable[..., Int[np.ndarray, " rows"]]


class Known(NamedTuple):
    """What is known of a table's networks, row by row, before any is trained.

    features: that the process reads. zero_cost: the score by which the first are chosen.
    proxies: other scores, by name: costs of the table, and what a regressor reads.
    bundle: the generator of its cells, if they are cells.
    """

    writer: Writer
    features: Float[np.ndarray, "rows features"]
    zero_cost: Float[np.ndarray, " rows"]
    proxies: Mapping[str, Float[np.ndarray, " rows"]]
    bundle: CellBundle | None = None


def examples(
    key: Key[Array, ""], accuracy: Float[np.ndarray, " rows"], settings: Refit
) -> Int[np.ndarray, "steps batch"]:
    """Which rows each step sees: half of them are among the best tenth."""
    rng = generator(key)
    shape = settings.steps, settings.batch_size // 2
    best = np.argsort(-accuracy, kind="stable")[: max(len(accuracy) // 10, 1)]
    anywhere = rng.integers(0, len(accuracy), shape)
    return np.concatenate([anywhere, best[rng.integers(0, len(best), shape)]], 1)


def rows_written(
    table: Table, architectures: Iterable[Architecture]
) -> Int[np.ndarray, " different"]:
    """The rows of what was written, each once, without what the benchmark does not have."""
    rows = map(table.row, architectures)
    return np.unique([row for row in rows if row is not None]).astype(int)


def refitter(
    make_batch: Callable[..., Any], loss_fn: Callable[..., Float[Array, ""]]
) -> Callable[..., Any]:
    """The `refit` of a writer. make_batch: `(rows, accuracy) -> arrays` of their leading shape.
    loss_fn: `(params, key, batch)`."""

    def refit(
        key: Key[Array, ""],
        params: Any,
        rows: Int[np.ndarray, " rows"],
        accuracy: Float[np.ndarray, " rows"],
        settings: Refit,
    ) -> Any:
        keys = children(key, "rows", "steps")
        chosen = examples(keys["rows"], accuracy, settings)
        batches, rate = make_batch(rows[chosen], accuracy[chosen]), settings.learning_rate
        return _train(params, keys["steps"], batches, loss_fn=loss_fn, learning_rate=rate)

    return refit


@partial(jax.jit, static_argnames=("loss_fn", "learning_rate"))
def _train(params, key, batches, *, loss_fn, learning_rate: float):
    """Params after a step of Adam on each of `batches` (arrays `[steps, ...]`). Compiled for each
    `loss_fn`, which is told by its identity."""
    tx = optax.adam(learning_rate)

    def step(carry, inputs):
        params, state = carry
        number, batch = inputs
        grads = jax.grad(loss_fn)(params, jax.random.fold_in(key, number), batch)
        updates, state = tx.update(grads, state)
        return (optax.apply_updates(params, updates), state), None

    numbers = jnp.arange(len(jax.tree.leaves(batches)[0]))
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), (numbers, batches))
    return params
