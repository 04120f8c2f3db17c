"""Networks of a table whose layers are chosen one by one, by the transformer of the macro level.

A network is a sentence of stages whose clusters are the choices. The transformer learns the space
from sentences without figures first; the scores that choose the first networks are their costs,
since no network is built for them.
"""

from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from nasgen.benchmarks.tabular.features import features
from nasgen.benchmarks.tabular.table import Table
from nasgen.benchmarks.tabular.writer import DROPPED, Known, Refit, Writer, refitter, rows_written
from nasgen.keys import children, generator
from nasgen.models import macro
from nasgen.models.macro import MacroConfig
from nasgen.models.macro_language import (
    NUM_FEATURES,
    Vocabulary,
    context_features,
    decode_batch,
    encode_batch,
)
from nasgen.models.macro_rules import CostBounds
from nasgen.networks import costs
from nasgen.spaces import macro as macro_space
from nasgen.types import Architecture, Task

_TASK = Task("images", (32, 32, 3), 10)
_PRETRAINING = Refit(steps=300, batch_size=64, learning_rate=3e-3)


def know_sequences(key: Key[Array, ""], table: Table) -> Known:
    """Trains the transformer on the table's networks, of which nothing else is told."""
    keys = children(key, "init", "train")
    vocabulary = Vocabulary(int(table.digits.max()) + 1, table.digits.shape[1])
    config = MacroConfig(vocabulary, width=32, depth=1, heads=4)
    macros = [table.architecture(row).macro for row in range(table.num_rows)]
    sentences = encode_batch(macros, vocabulary)
    refit = refitter(partial(_batch, sentences), partial(_loss, config))
    none = np.full(table.num_rows, np.nan, np.float32)
    params = macro.init(keys["init"], config)
    params = refit(keys["train"], params, np.arange(table.num_rows), none, _PRETRAINING)
    logs = {name: np.log(column) for name, column in table.costs.items()}
    scores = [(column - column.mean()) / column.std() for column in logs.values()]
    writer = Writer(params, refit, partial(_draw, table, config))
    return Known(writer, features(table), sum(scores), dict(table.costs))


def _contexts(accuracy: Float[np.ndarray, "*rows"]) -> Float[np.ndarray, "*rows features"]:
    """Requests for these accuracies; of no other kind where one is nan."""
    context = np.broadcast_to(context_features(_TASK), (*accuracy.shape, NUM_FEATURES)).copy()
    context[..., -1] = np.isfinite(accuracy)  # accuracy stands last: its value, its flag
    context[..., -2] = np.nan_to_num(accuracy)
    return context


def _batch(sentences, rows, accuracy) -> tuple[np.ndarray, np.ndarray]:
    return _contexts(accuracy), sentences[rows]


def _loss(config: MacroConfig, params, key, batch) -> Float[Array, ""]:
    return macro.loss(params, key, *batch, config=config, drop_probability=DROPPED)


def _draw(
    table: Table,
    config: MacroConfig,
    key: Key[Array, ""],
    params,
    num: int,
    asked: Float[np.ndarray, "2"] | None = None,
) -> Int[np.ndarray, " rows"]:
    keys = children(key, "accuracy", "sentences")
    accuracy = np.full(num, np.nan, np.float32)
    if asked is not None:
        accuracy[:] = generator(keys["accuracy"]).uniform(*asked, num)
    found = macro.sample(
        params,
        jax.random.split(keys["sentences"], num),
        _contexts(accuracy),
        np.full((num, 3), np.inf, np.float32),
        bounds=CostBounds(*costs.bounds([_TASK] * num)),
        heights=np.full(num, _TASK.sides[0]),
        widths=np.full(num, _TASK.sides[1]),
        config=config,
    )
    written = decode_batch(np.asarray(found.tokens), config.vocabulary)
    whole = macro_space.unpack(macro_space.take(written, (written.repeats > 0).all(1)))
    return rows_written(table, (Architecture(one, ()) for one in whole))
