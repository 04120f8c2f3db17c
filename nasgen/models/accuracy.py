"""Predicts how well a network will train, from what is known before it is trained.

Inputs are made of named columns (costs, features, wiring, scores at initialisation, steps of
training) by `inputs`, so that they mean the same on tasks of other sizes. The prediction is a
linear function plus a sum of regression trees (Friedman, 2001), all of it arrays; in standard
deviations among networks of one task and one number of steps, so only differences count.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

PREDICTED_ACCURACY = "predicted_accuracy"  # the name of the fitness
Columns = Mapping[str, Float[np.ndarray, " networks"]]

# Scores at initialisation that inputs are made of. Of a sum over layers, its mean: how many layers
# there are is an input of its own.
SUMS = ("snip", "snip_snr", "grad_norm", "fisher", "t_cet", "synflow", "nwot_outputs")
PLAIN = ("zen", "nwot", "az_expressivity", "az_trainability", "az_progressivity")
SCORES = (*SUMS, *PLAIN)
_LOGS = ("snip", "snip_snr", "grad_norm", "fisher")


class Trees(NamedTuple):
    """Binary trees, padded to as many nodes as the largest has; node 0 is the root.

    A row goes `left` where its input `feature` is at most `threshold`; a leaf leads to itself.
    """

    feature: Int[np.ndarray, "trees nodes"]
    threshold: Float[np.ndarray, "trees nodes"]
    left: Int[np.ndarray, "trees nodes"]
    right: Int[np.ndarray, "trees nodes"]
    value: Float[np.ndarray, "trees nodes"]


class Predictor(NamedTuple):
    """names: of the inputs, in order. mean, scale, low, high: of every input, which is clipped to
    what the fit has seen and then standardised. linear: a weight for each, the intercept last.
    by_steps: a weight for the product of each with the first, the steps of training, since what
    counts after ten steps is not what counts after a thousand."""

    names: tuple[str, ...]
    mean: Float[np.ndarray, " inputs"]
    scale: Float[np.ndarray, " inputs"]
    low: Float[np.ndarray, " inputs"]
    high: Float[np.ndarray, " inputs"]
    linear: Float[np.ndarray, " weights"]
    by_steps: Float[np.ndarray, " inputs"]
    trees: Trees


class Accuracy(NamedTuple):
    """scored: reads scores at initialisation too. unscored: only what is known before any weight is
    drawn, so that it ranks thousands."""

    scored: Predictor
    unscored: Predictor


def inputs(columns: Columns) -> dict[str, Float[np.ndarray, " networks"]]:
    """Inputs by name.

    columns: those of `features` and `topology` by their names, `steps` (of training), and, where
    there are any, `SCORES` and `images` (in a batch of the scores), all `[networks]`."""
    c = {name: np.asarray(values, np.float64) for name, values in columns.items()}
    layers, pixels = c["layers"], c["log_input_pixels"]
    found = {
        "log_steps": np.log(c["steps"]),
        "log_params": c["log_params"],
        "log_macs_per_pixel": c["log_macs"] - pixels,
        "log_memory_per_pixel": c["log_activation_memory"] - pixels,
        "log_layers": np.log(layers),
        "log_depth": np.log(c["depth"]),
        "log_shortest_path": np.log(c["shortest_path"]),
        "log_mean_path": np.log(c["mean_path"]),
        "log_paths_per_layer": c["log_paths"] / layers,
        "log_last_pixels": c["log_last_pixels"],
        "log_downsampling": pixels - c["log_last_pixels"],
        "log_mean_downsampling": pixels - c["log_mean_pixels"],
        "log_last_width": c["log_last_width"],
        "log_least_width": c["log_least_width"],
        "log_mean_width": c["log_mean_width"],
        "log_field_per_size": c["log_receptive_field"] - pixels / 2,
        "depthwise": c["depthwise_layers"] / layers,
        "pools": c["pool_layers"] / layers,
        "relus": c["relu_layers"] / layers,
        **{n: c[n] for n in ("macs_at_full_size", "macs_depthwise", "macs_dense", "params_late")},
    }
    if "images" not in c:
        return found
    for name in SUMS:
        values = c[name] / layers / (c["images"] if name == "nwot_outputs" else 1)
        found[name] = np.log(np.maximum(values, 1e-12)) if name in _LOGS else values
    for name in PLAIN:
        found[name] = c[name] / (c["images"] if name == "nwot" else 1)
    return found


def steps_seen(predictor: Predictor) -> tuple[float, float]:
    """The least and the most steps of training that the fit has seen."""
    place = predictor.names.index("log_steps")
    return float(np.exp(predictor.low[place])), float(np.exp(predictor.high[place]))


def predict(
    predictor: Predictor, rows: Float[np.ndarray, "networks inputs"]
) -> Float[np.ndarray, " networks"]:
    """Predicted accuracies, in standard deviations. An input that is not finite counts as its
    mean."""
    low, high, mean, scale = (
        a[None] for a in (predictor.low, predictor.high, predictor.mean, predictor.scale)
    )
    z = (np.clip(np.where(np.isfinite(rows), rows, mean), low, high) - mean) / scale
    weights = predictor.linear[None, :-1] + z[:, :1] * predictor.by_steps[None]
    return (z * weights).sum(1) + predictor.linear[-1] + sum_of_trees(predictor.trees, z)


def sum_of_trees(
    trees: Trees, rows: Float[np.ndarray, "networks inputs"]
) -> Float[np.ndarray, " networks"]:
    """What the leaves say that rows arrive at, added up."""
    numbers, places = np.arange(len(trees.feature))[None], np.arange(len(rows))[:, None]
    node = np.zeros((len(rows), len(trees.feature)), np.int64)
    while True:
        goes_left = rows[places, trees.feature[numbers, node]] <= trees.threshold[numbers, node]
        after = np.where(goes_left, trees.left[numbers, node], trees.right[numbers, node])
        if (after == node).all():
            return trees.value[numbers, node].sum(1)
        node = after
