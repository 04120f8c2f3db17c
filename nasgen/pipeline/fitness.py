"""`predicted_accuracy`: the fitness that says how well a network trains in so many steps."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float, Int, Key

from nasgen.models.accuracy import SCORES, Predictor, inputs, predict
from nasgen.networks import features, topology
from nasgen.networks.plan import Plan
from nasgen.proxies import PROXIES
from nasgen.proxies.engine import score
from nasgen.types import Task


def predicted_accuracy(
    predictor: Predictor,
    plans: Sequence[Plan],
    task: Task,
    images: Float[np.ndarray, "batch height width channels"],
    labels: Int[np.ndarray, " batch"],
    key: Key[Array, ""],
    steps: int,
) -> Float[np.ndarray, " plans"]:
    """How well each network will do after `steps` optimiser steps, in standard deviations among
    networks of one task: higher is better, and only differences count. One exact scoring each.

    images, labels, key: as in `engine.score`. Raises ValueError where a plan is for another task.
    """
    for plan in plans:
        if (plan.input_shape, plan.num_classes) != (tuple(task.input_shape), task.num_classes):
            raise ValueError(
                f"`plans` must be for images {task.input_shape} in {task.num_classes} classes; "
                f"got {plan.input_shape} in {plan.num_classes}."
            )
    if not plans:
        return np.zeros(0)
    scores = score(plans, {name: PROXIES[name] for name in SCORES}, key, images, labels).values
    known = np.array([np.append(features.features(p), topology.topology(p)) for p in plans])
    columns = dict(zip((*features.NAMES, *topology.NAMES), known.T, strict=True)) | scores
    columns |= {"images": np.full(len(plans), len(images)), "steps": np.full(len(plans), steps)}
    made = inputs(columns)
    return predict(predictor, np.stack([made[name] for name in predictor.names], 1))
