"""Batches of a split as a pure function of the step, so that a resumed run sees the same ones.

`map(batch_fn, itertools.count(step))` goes on at any step.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from jaxtyping import Num

from nasgen.data.rows import Rows


def epoch_batches(
    x: Num[np.ndarray | Rows, "examples *input"],
    y: Num[np.ndarray, "examples *target"],
    batch_size: int,
    *,
    seed: int,
) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Batches by step: each epoch in a new order, its incomplete last batch left out.

    x: of `Rows` the next step's are read while the caller is busy with this one's. Raises
    ValueError where there are fewer examples than a batch takes.
    """
    if not 1 <= batch_size <= len(y):
        raise ValueError(f"`batch_size` must be in 1..{len(y)}, the examples; got {batch_size}.")
    epoch = len(y) // batch_size

    @lru_cache(maxsize=1)
    def order(number: int) -> np.ndarray:
        return np.random.default_rng([seed, number]).permutation(len(y))

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        start = step % epoch * batch_size
        chosen = order(step // epoch)[start : start + batch_size]
        return x[chosen], y[chosen]

    return _ahead(batch) if isinstance(x, Rows) else batch


def _ahead(batch: Callable[[int], tuple]) -> Callable[[int], tuple]:
    """The same function, with a thread that is one step ahead."""
    reader, started = ThreadPoolExecutor(1), {}

    def ahead(step: int) -> tuple:
        this: Future = started.pop(step, None) or reader.submit(batch, step)
        started.clear()
        started[step + 1] = reader.submit(batch, step + 1)
        return this.result()

    return ahead


def filled(array: Num[np.ndarray, "examples *rest"], size: int) -> Num[np.ndarray, "size *rest"]:
    """With zeros behind, as many as make a batch of that size."""
    return np.pad(array, ((0, size - len(array)), *((0, 0),) * (array.ndim - 1)))
