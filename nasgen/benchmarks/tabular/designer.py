"""nasgen on a table: its generator, told the accuracy that is wanted, and a process that ranks.

Scores that no network is built for say which of the generator's networks are tried first: the best
by them, then some ever further down. Then, in rounds: a Gaussian process is fitted to what was
trained; it labels a sample of networks; the generator is trained on for some steps with those
labels as a condition; networks of the highest accuracy are drawn from it, and neighbours of the
best; the most promising of these are trained. What is trained is drawn by the generator or is such
a neighbour; the sample, of a small space all of it, is only labelled, by the process.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from nasgen.benchmarks.tabular import gaussian_process
from nasgen.benchmarks.tabular.table import Table
from nasgen.benchmarks.tabular.writer import Known, Refit
from nasgen.keys import children, generator
from nasgen.statistics import down_the_ranks

_MAX_ROUNDS = 1_000  # with bounds that hardly any network keeps, many find nothing
_ASKED = (0.98, 1.0)  # quantiles of the labels of the sample, between which accuracy is asked for


class Settings(NamedTuple):
    """first: networks that zero-cost scores alone choose (`spread`), before the process is asked.
    batch: networks of a round. draws: of the generator, a round. mutants: of the best, a round.
    sample: networks that it is trained on with; the others: see `Refit`."""

    first: int = 5
    batch: int = 5
    draws: int = 256
    mutants: int = 64
    sample: int = 4096
    steps: int = 40
    batch_size: int = 128
    learning_rate: float = 3e-3


def search(
    key: Key[Array, ""],
    table: Table,
    known: Known,
    settings: Settings,
    num: int,
    *,
    allowed: Bool[np.ndarray, " rows"] | None = None,
) -> Int[np.ndarray, " queries"]:
    """The rows that are trained, in order: `num`, or fewer where nothing new is found.

    allowed: rows that keep a bound on what is known without training; no other is ever asked, nor
        in the sample that the generator is trained on."""
    keys, write = children(key, "sample", "rounds"), known.writer
    inside = np.arange(table.num_rows) if allowed is None else np.flatnonzero(allowed)
    size = min(settings.sample, len(inside))
    sample = generator(keys["sample"]).choice(inside, size, replace=False)
    refit = Refit(settings.steps, settings.batch_size, settings.learning_rate)
    params, queried = write.params, np.zeros(0, int)
    for number in range(_MAX_ROUNDS):
        if len(queried) >= num:
            break
        one = children(jax.random.fold_in(keys["rounds"], number), "refit", "draws", "mutants")
        if not len(queried):
            found = _new(write.draw(one["draws"], params, settings.draws), queried, allowed)
            queried = spread(found, known.zero_cost, min(settings.first, num))
            continue
        seen, most = table.validation[queried], min(settings.batch, num - len(queried))
        process = gaussian_process.fit(known.features[queried], seen)
        accuracy = standardised(process.predict(known.features[sample]))
        params = write.refit(one["refit"], params, sample, accuracy, refit)
        best = queried[np.argsort(-seen, kind="stable")[: settings.batch]]
        near = _mutants(one["mutants"], table, best, settings.mutants)
        asked = np.quantile(accuracy, _ASKED)
        drawn = write.draw(one["draws"], params, settings.draws, asked)
        found = _new(np.union1d(drawn, near), queried, allowed)
        found = gaussian_process.most_promising(process, known.features, seen, found, most)
        queried = np.concatenate([queried, found])
    return queried


def spread(
    rows: Int[np.ndarray, " rows"], scores: Float[np.ndarray, " all"], num: int
) -> Int[np.ndarray, " num"]:
    """The best of these rows by a score, then others ever further down the ranks of their better
    half: networks that are all alike would teach the process little."""
    order = rows[np.argsort(-scores[rows], kind="stable")]
    num = min(num, len(order))
    return order[down_the_ranks(num, len(order) // 2)]


def standardised(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """With mean 0 and deviation 1, in float32."""
    return ((values - values.mean()) / (values.std() + 1e-6)).astype(np.float32)


def _new(rows, queried, allowed: Bool[np.ndarray, " rows"] | None) -> Int[np.ndarray, " new"]:
    """Those that nobody asked and that are allowed."""
    rows = np.setdiff1d(rows, queried)
    return rows if allowed is None else rows[allowed[rows]]


def _mutants(key, table: Table, parents, num: int) -> Int[np.ndarray, " mutants"]:
    keys = jax.random.split(key, num)
    return np.unique([table.mutate(k, int(parents[i % len(parents)])) for i, k in enumerate(keys)])
