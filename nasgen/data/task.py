"""A data set: a task, three splits of its examples, and how the pixels were standardised."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nasgen.types import Task

FRACTIONS = (0.6, 0.2, 0.2)  # training, validation, test


class Split(NamedTuple):
    """Images, standardised, and their labels."""

    x: Float[np.ndarray, "examples height width channels"]
    y: Int[np.ndarray, " examples"]


class Dataset(NamedTuple):
    """The examples of a task.

    train: for weights. validation: for every choice. test: for the one figure at the very end;
    only the delivery of a finished network reads it.
    mean, std: of the training split's raw pixels; a raw image enters as `(raw - mean) / std`.
    """

    task: Task
    train: Split
    validation: Split
    test: Split
    mean: Float[np.ndarray, " channels"]
    std: Float[np.ndarray, " channels"]


def standardised(task: Task, train: Split, validation: Split, test: Split) -> Dataset:
    """A data set from raw splits: each channel gets mean 0 and deviation 1 on the training split.

    A channel that never changes is only centred.
    """
    mean = train.x.mean((0, 1, 2), dtype=np.float64).astype(np.float32)
    std = train.x.std((0, 1, 2), dtype=np.float64).astype(np.float32)
    std = np.where(std > 0, std, np.float32(1))

    def standardise(split: Split) -> Split:
        x = (np.asarray(split.x, np.float32) - mean[None, None, None]) / std[None, None, None]
        return Split(x, np.asarray(split.y, np.int32))

    return Dataset(task, standardise(train), standardise(validation), standardise(test), mean, std)


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
