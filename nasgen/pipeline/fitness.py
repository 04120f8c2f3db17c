"""`predicted_accuracy`: the fitness that says how well a network trains in so many steps."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, Key, Num

from nasgen.models.accuracy import PREDICTED_ACCURACY, SCORES, Accuracy, Predictor, inputs, predict
from nasgen.networks import features, topology
from nasgen.networks.plan import Plan
from nasgen.proxies import PROXIES
from nasgen.proxies.engine import score
from nasgen.types import Task

STEPS = 1_000  # of the training that follows, where nobody says how many


def needed(accuracy: Accuracy | None) -> Accuracy:
    """The predictors. Raises ValueError where there are none."""
    if accuracy is None:
        raise ValueError(
            f"`fitness` {PREDICTED_ACCURACY!r} needs predictors; pretrain_accuracy fits them."
        )
    return accuracy


def predicted_accuracies(
    predictor: Predictor,
    plans: Sequence[Plan],
    task: Task,
    images: Float[np.ndarray, "batch *pixels channels"],
    labels: Num[np.ndarray, "batch *target"],
    key: Key[Array, ""],
    steps: Sequence[int],
) -> Float[np.ndarray, "plans steps"]:
    """How well each network will do after each number of optimiser steps, in standard deviations
    among networks of one task: higher is better, only differences count. One exact scoring each.

    images, labels, key: as in `engine.score`. Raises ValueError where a plan is for another task.
    """
    scores = accuracy_scores(plans, task, images, labels, key)
    return accuracies_by_scores(predictor, plans, scores, len(images), steps)


def accuracy_scores(
    plans: Sequence[Plan],
    task: Task,
    images: Float[np.ndarray, "batch *pixels channels"],
    labels: Num[np.ndarray, "batch *target"],
    key: Key[Array, ""],
    *,
    devices: Sequence[jax.Device] | None = None,
) -> dict[str, Float[np.ndarray, " plans"]]:
    """The scores that `predicted_accuracy` reads, by name: its one exact scoring of each network.
    devices: as in `engine.score`. Raises ValueError where a plan is for another task."""
    for plan in plans:
        if (plan.input_shape, plan.num_classes) != (tuple(task.input_shape), task.num_classes):
            raise ValueError(
                f"`plans` must be for images {task.input_shape} in {task.num_classes} classes; "
                f"got {plan.input_shape} in {plan.num_classes}."
            )
    if not plans:
        return {name: np.zeros(0) for name in SCORES}
    proxies = {name: PROXIES[name] for name in SCORES}
    return score(plans, proxies, key, images, labels, devices=devices).values


def accuracies_by_scores(
    predictor: Predictor,
    plans: Sequence[Plan],
    scores: dict[str, Float[np.ndarray, " plans"]],
    num_images: int,
    steps: Sequence[int],
) -> Float[np.ndarray, "plans steps"]:
    """`predicted_accuracies` by scores of a batch of so many images."""
    if not plans:
        return np.zeros((0, len(steps)))
    columns = {**scores, "images": np.full(len(plans), num_images)}
    known = np.array([describe(plan) for plan in plans])
    return np.stack([_predict(predictor, known, number, columns) for number in steps], 1)


def expected_accuracy(
    predictor: Predictor,
    rows: Float[np.ndarray, "plans features"],
    steps: float | Float[np.ndarray, " plans"],
) -> Float[np.ndarray, " plans"]:
    """The same without scores, of networks as `describe` has them; steps: of all, or of each."""
    return _predict(predictor, rows, steps, {})


def describe(plan: Plan) -> Float[np.ndarray, " features"]:
    """What is known of a network before any weight is drawn: features, then wiring."""
    return np.append(features.features(plan), topology.topology(plan))


def _predict(predictor: Predictor, rows: np.ndarray, steps, scores: dict) -> np.ndarray:
    columns = dict(zip((*features.NAMES, *topology.NAMES), rows.T, strict=True))
    made = inputs({**columns, **scores, "steps": np.full(len(rows), steps)})
    return predict(predictor, np.stack([made[name] for name in predictor.names], 1))
