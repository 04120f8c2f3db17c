"""A data set: a task, three splits of its examples, and how the pixels were standardised."""

import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

from nasgen.data.rows import Rows, sample
from nasgen.types import KINDS, METRICS, Task

FRACTIONS = (0.6, 0.2, 0.2)  # training, validation, test


class Split(NamedTuple):
    """Inputs (images or series), standardised, and their targets, as `types.KINDS` says.

    Inputs that would fill the memory are `Rows`, which are read as they are asked for."""

    x: Float[np.ndarray | Rows, "examples *places channels"]
    y: Num[np.ndarray, "examples *target"]


class Dataset(NamedTuple):
    """The examples of a task.

    train: for weights. validation: for every choice. test: for the one figure at the very end;
    only the delivery of a finished network reads it.
    mean, std: of the training split's raw pixels; a raw image enters as `(raw - mean) / std`.
    notes: what was done to the data on the way, a sentence each, for the user.
    white: what white of a picture file is in raw pixels; None where they are not those of pictures.
    table: of series from a table the names of its columns: `label`, `series` and `time` (None where
    there is none), of values either `channels`, a row a moment, or `moments`, a row a series (the
    other is None); and `fits`, whether series of other lengths are padded and cropped.
    """

    task: Task
    train: Split
    validation: Split
    test: Split
    mean: Float[np.ndarray, " channels"]
    std: Float[np.ndarray, " channels"]
    notes: tuple[str, ...] = ()
    white: float | None = None
    table: Mapping[str, Any] | None = None


def standardised(
    task: Task,
    train: Split,
    validation: Split,
    test: Split,
    *,
    notes: tuple[str, ...] = (),
    white: float | None = None,
) -> Dataset:
    """A data set from raw splits: each channel gets mean 0 and deviation 1 on the training split.

    A channel that never changes is only centred. Of `Rows` a sample tells both.
    """
    seen = sample(train.x)
    axes = tuple(range(seen.ndim - 1))
    mean = seen.mean(axes, dtype=np.float64).astype(np.float32)
    std = seen.std(axes, dtype=np.float64).astype(np.float32)
    std = np.where(std > 0, std, np.float32(1))

    def standardise(split: Split) -> Split:
        y = np.asarray(split.y, KINDS[task.kind].targets)
        if isinstance(split.x, Rows):
            return Split(split.x.standardised(mean, std), y)
        x = np.array(split.x, np.float32)  # one copy, changed in place
        x -= mean
        x /= std
        return Split(x, y)

    parts = (standardise(split) for split in (train, validation, test))
    return Dataset(task, *parts, mean, std, notes, white)


def stratified_indices(
    labels: Int[np.ndarray, " examples"],
    *,
    seed: int,
    fractions: tuple[float, ...] = FRACTIONS,
) -> tuple[np.ndarray, ...]:
    """Disjoint, sorted indices, one array a fraction: of each class its fraction, at least one.

    The split depends on the seed alone. Each class needs as many examples as there are fractions.
    """
    rng = np.random.default_rng(seed)
    parts = [[] for _ in fractions]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < len(fractions):
            raise ValueError(
                f"`labels` must have {len(fractions)} examples of each class; "
                f"got {len(members)} of class {label}."
            )
        sizes = [max(1, round(fraction * len(members))) for fraction in fractions[1:]]
        ends = np.cumsum([max(1, len(members) - sum(sizes)), *sizes])
        for part, chosen in zip(parts, np.split(members, ends[:-1]), strict=True):
            part.append(chosen)
    return tuple(np.sort(np.concatenate(part)) for part in parts)


def check_objective(task: Task) -> None:
    """Raises ValueError for a metric that is not for the task's kind, or for a loss that is not its
    kind's: others would need other networks."""
    fitting = sorted(name for name, one in METRICS.items() if task.kind in one.kinds)
    if task.metric not in fitting:
        raise ValueError(
            f"`metric` of {task.name} must be one of {', '.join(fitting)}, for {task.kind}; "
            f"got {task.metric!r}."
        )
    if task.loss != KINDS[task.kind].loss:
        raise ValueError(
            f"`loss` of {task.name} must be {KINDS[task.kind].loss!r}, for {task.kind}; "
            f"got {task.loss!r}."
        )


def fits(shape: tuple[int, ...], *, part: float = 1.0) -> bool:
    """Whether float32 examples of that shape, and a standardised copy of them, are at most this
    part of the machine's memory; true where that is not known."""
    return part * _memory() >= _needed(shape)


def check_memory(shape: tuple[int, ...], name: str, remedy: str) -> None:
    """Raises ValueError where examples of that shape do not fit."""
    if not fits(shape):
        raise ValueError(
            f"`{name}` must fit into memory, {_memory() / 1e9:.1f} GB; {shape} takes "
            f"{_needed(shape) / 1e9:,.1f} GB: {remedy}."
        )


def _needed(shape: tuple[int, ...]) -> int:
    return 2 * 4 * math.prod(shape)


def _memory() -> float:
    """This machine's, in bytes."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return math.inf
