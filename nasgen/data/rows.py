"""Examples that are read when they are asked for, where an array of all would fill the memory.

`Rows` has of an array what a split's inputs need: `shape`, `dtype`, a length, and indexing by a
number, a slice or an array of numbers, which reads those rows and gives an array. Which rows make
a batch follows from the step alone (`batches.epoch_batches`), so a resumed run reads the same.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

SAMPLE = 1024  # rows that stand for all where statistics are taken

# read(indices) -> raw rows [indices, *places, channels]
Read = Callable[[np.ndarray], np.ndarray]


class Unreadable(ValueError):
    """An example that was to be read when it was needed cannot be; the message names it."""


@dataclass(frozen=True)
class Rows:
    """`shape[0]` examples behind a function that reads them, standardised on the way.

    read: raw rows of an array of indices, a pure function. A row enters as `(raw - mean) / std`.
    """

    read: Read
    shape: tuple[int, ...]
    mean: Any = field(default=np.float32(0))
    std: Any = field(default=np.float32(1))

    dtype = np.dtype(np.float32)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Float[np.ndarray, "..."]:
        chosen = np.arange(len(self))[key]
        rows = np.array(self.read(np.atleast_1d(chosen)), np.float32)
        rows -= self.mean
        rows /= self.std
        return rows if chosen.ndim else rows[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def standardised(self, mean: np.ndarray, std: np.ndarray) -> "Rows":
        """The same rows, of raw ones, with these for `mean` and `std`."""
        return replace(self, mean=mean, std=std)


def rows_of(array: np.ndarray) -> Rows:
    """The rows of an array in memory, of a smaller type than float32 or mapped from a file."""
    return Rows(array.__getitem__, array.shape)


def one_by_one(
    read: Callable[[int], np.ndarray], shape: tuple[int, ...], *, threads: bool = False
) -> Rows:
    """Rows of a function that reads a single one. threads: read several at once, where what takes
    the time leaves Python, as decoding of images does."""

    def several(indices: Int[np.ndarray, " rows"]) -> np.ndarray:
        rows = np.empty((len(indices), *shape[1:]), np.float32)

        def put(place: int) -> None:
            rows[place] = read(int(indices[place]))

        if threads and len(indices) > 1:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(put, range(len(indices))))  # raises what a thread raised
        else:
            for place in range(len(indices)):
                put(place)
        return rows

    return Rows(several, shape)


def take(x: np.ndarray | Rows, chosen: Int[np.ndarray, " rows"]) -> np.ndarray | Rows:
    """Those rows of an array, or of rows, which are not read by it."""
    if isinstance(x, np.ndarray):
        return x[chosen]
    shape = (len(chosen), *x.shape[1:])
    return replace(x, read=lambda indices: x.read(chosen[indices]), shape=shape)


def sample(x: np.ndarray | Rows) -> np.ndarray:
    """An array as it is; of rows that are read, at most `SAMPLE`, evenly spread."""
    if isinstance(x, np.ndarray):
        return x
    return x[np.unique(np.linspace(0, len(x) - 1, SAMPLE).astype(np.int64))]
