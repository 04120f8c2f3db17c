"""Successive halving of finalists (Jamieson & Talwalkar, AISTATS 2016): all are trained a little,
the better part of them longer."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nasgen.types import Architecture

Train = Callable[[Sequence[Architecture], int], Float[np.ndarray, " architectures"]]


class Halved(NamedTuple):
    """Finalists in the order given. accuracies: the last one of each, after `steps` of training."""

    accuracies: Float[np.ndarray, " finalists"]
    steps: Int[np.ndarray, " finalists"]

    @property
    def order(self) -> list[int]:
        """Indices, best first: who trained longer stands before who did not."""
        keys = zip(-self.steps, -np.nan_to_num(self.accuracies, nan=-np.inf), strict=True)
        ranked = sorted(enumerate(keys), key=lambda pair: tuple(pair[1]))
        return [index for index, _ in ranked]


def rungs(num: int, steps: int, *, factor: int = 2) -> list[tuple[int, int]]:
    """How many train for how many steps, one rung after the other, until the best is known."""
    found = [(num, steps)]
    while num // factor > 1:
        num, steps = num // factor, factor * steps
        found.append((num, steps))
    return found


def successive_halving(
    finalists: Sequence[Architecture], train: Train, *, steps: int, factor: int = 2
) -> Halved:
    """Trains all for `steps`, then the better 1 / `factor` of them `factor` times as long, until
    the best is known: about as many steps in each rung.

    train: `(architectures, steps) -> accuracies` on validation data, each trained from nothing; one
    that is no number counts as the worst. Raises ValueError where there are no finalists, or the
    numbers are too small.
    """
    if not finalists or steps < 1 or factor < 2:
        raise ValueError(
            "`finalists` must not be empty, `steps` at least 1, `factor` at least 2; "
            f"got {len(finalists)}, {steps}, {factor}."
        )
    accuracies, trained = np.zeros(len(finalists)), np.zeros(len(finalists), np.int64)
    alive = np.arange(len(finalists))
    for kept, longer in rungs(len(finalists), steps, factor=factor):
        order = np.argsort(-np.nan_to_num(accuracies[alive], nan=-np.inf), kind="stable")
        alive = alive[np.sort(order[:kept])]
        found = np.asarray(train([finalists[i] for i in alive], longer), float)
        accuracies[alive], trained[alive] = found, longer
    return Halved(accuracies, trained)
