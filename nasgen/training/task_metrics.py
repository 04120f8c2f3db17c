"""Metrics by `Task.metric`, exact over a whole split, with their bootstrap intervals.

A metric has two halves: what it needs of each example, a jitted function of predictions and
targets; and its value from the rows of all examples, on the host, where each counts `weights`
times (as in `statistics`). So batches that were filled up count right, and a bootstrap sample of
test examples is a row of weights. Which metrics there are, for which kinds, and whether more is
better stands in `types.METRICS`; among them are those of NAS-Bench-360 (Tu et al., NeurIPS 2022),
of which some are told there as 1 minus.

Predictions are logits, or numbers in the targets' units where these are to be predicted.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, Real

from nasgen.data.batches import filled
from nasgen.data.task import Split
from nasgen.statistics import bootstrap_weights, interval
from nasgen.training.losses import LOSSES, Logits, Targets
from nasgen.training.units import Units, restored, standardised
from nasgen.types import KINDS, Task

Rows = Real[np.ndarray, "examples *row"]
Counts = Real[np.ndarray, "*samples examples"]
Values = Float[np.ndarray, "*samples"]
Ranked = Float[np.ndarray, "*samples scores"]
Sums = np.ndarray | np.floating  # `[*samples]`

_SAMPLES, _NUMBERS = 1_000, 2e9  # of a bootstrap: samples, and numbers to go through at most
_AT_ONCE = 256  # examples that targets alone are looked through by
NEAR, APART = 8.0, 24  # of PSICOV: distances in angstrom that count, and places between them


class Measure(NamedTuple):
    """rows(predictions, targets) -> [batch, ...]; value(rows, weights) -> one a sample, nan where
    it is not defined."""

    rows: Callable[[Logits, Targets], Num[Array, "batch *row"]]
    value: Callable[[Rows, Counts], Values]


class Evaluation(NamedTuple):
    """A metric over all examples, their mean loss, and what the metric needed of each."""

    value: float
    loss: float
    rows: Rows


# ---- what is needed of each example -------------------------------------------------------------


def _right(logits: Logits, targets: Targets) -> Int[Array, " batch"]:
    return (logits.argmax(-1) == targets).astype(jnp.int32)


def _wrong(logits: Logits, targets: Targets) -> Int[Array, " batch"]:
    return 1 - _right(logits, targets)


def class_counts(logits: Logits, targets: Targets) -> Int[Array, "batch 3 classes"]:
    """Places of each class that are found as such, that are predicted to be it, and that are it:
    the diagonal and the margins of each example's confusion matrix."""
    classes, found = logits.shape[-1], logits.argmax(-1)

    def count(found: Array, true: Array) -> Array:
        found, true = found.reshape(-1), true.reshape(-1)
        hit = (found == true).astype(jnp.int32)
        hits = jnp.bincount(true, weights=hit, length=classes)
        return jnp.stack([hits, *(jnp.bincount(one, length=classes) for one in (found, true))])

    return jax.vmap(count)(found, targets)


def scored_labels(logits: Logits, targets: Targets) -> Float[Array, "batch 2 places labels"]:
    """For each label of each place a score and whether it holds. Of classes each is a label; of
    two the second alone, since the first says the same."""
    if targets.ndim < logits.ndim:
        truth = jax.nn.one_hot(targets, logits.shape[-1])
        scores = jax.nn.log_softmax(logits)
        if logits.shape[-1] == 2:
            truth, scores = truth[..., 1:], logits[..., 1:] - logits[..., :1]
    else:
        truth, scores = targets, logits
    batch, labels = len(logits), scores.shape[-1]
    return jnp.stack([one.reshape(batch, -1, labels) for one in (scores, truth)], 1)


def _absolute(found: Logits, targets: Logits) -> Float[Array, " batch"]:
    return jnp.abs(found - targets).reshape(len(found), -1).mean(1)


def _squared(found: Logits, targets: Logits) -> Float[Array, " batch"]:
    return ((found - targets) ** 2).reshape(len(found), -1).mean(1)


def _relative(found: Logits, targets: Logits) -> Float[Array, " batch"]:
    """The norm of the difference in parts of the targets' own."""
    norm = lambda a: jnp.sqrt(jnp.sum(a.reshape(len(a), -1) ** 2, 1))  # noqa: E731
    return norm(found - targets) / jnp.maximum(norm(targets), jnp.finfo(targets.dtype).tiny)


def _near(
    found: Float[Array, "batch length length 1"], targets: Float[Array, "batch length length 1"]
) -> Float[Array, "batch 2"]:
    """The mean absolute error of an example's pairs of places that are `APART` or more from each
    other in the sequence and truly at most `NEAR` apart in space (0 without such pairs), and
    whether there are any. The predictions for (i, j) and (j, i) are averaged. What fills a map up
    must be farther than `NEAR`."""
    ahead = jnp.triu(jnp.ones(found.shape[1:3], bool), APART)
    truth, found = targets[..., 0], (found + found.swapaxes(1, 2))[..., 0] / 2
    counted = ahead[None] & (truth <= NEAR)
    number = counted.sum((1, 2))
    errors = jnp.where(counted, jnp.abs(found - truth), 0).sum((1, 2)) / jnp.maximum(number, 1)
    return jnp.stack([errors, number > 0], 1)


# ---- values over all examples -------------------------------------------------------------------


def _mean(rows: Rows, weights: Counts) -> Values:
    return np.asarray(weights @ rows.astype(np.float64) / weights.sum(-1))


def _root(rows: Rows, weights: Counts) -> Values:
    return np.asarray(np.sqrt(_mean(rows, weights)))


def _mean_of_known(rows: Rows, weights: Counts) -> Values:
    """Of examples that have a value."""
    errors, known = np.moveaxis(np.asarray(weights @ rows.astype(np.float64)), -1, 0)
    return _ratio(errors, known)


def _iou(rows: Rows, weights: Counts) -> Values:
    """Mean over the classes that occur or are predicted."""
    hits, found, true = _totals(rows, weights)
    return _mean_of_defined(hits, found + true - hits)


def _f1(rows: Rows, weights: Counts) -> Values:
    """As `_iou`."""
    hits, found, true = _totals(rows, weights)
    return _mean_of_defined(2 * hits, found + true)


def _missed(rows: Rows, weights: Counts) -> Values:
    """The part of all places of classes but 0, the background, whose class is not found."""
    hits, _, true = (one[..., 1:].sum(-1) for one in _totals(rows, weights))
    return np.asarray(1 - _ratio(hits, true))


def _average_precision(rows: Rows, weights: Counts) -> Values:
    """Mean over the labels that hold for any example; the others have none. Of a label it is the
    sum over distinct scores of the precision there times the gain of recall."""

    def parts(positives: Ranked, taken: Ranked) -> tuple[Sums, Sums]:
        gained = np.diff(positives, prepend=0)
        precision = np.divide(positives, taken, out=np.zeros_like(positives), where=taken > 0)
        return (gained * precision).sum(-1), positives[..., -1]

    return _over_labels(parts, rows, weights)


def _auroc(rows: Rows, weights: Counts) -> Values:
    """Mean over the labels that hold for some places and for some not; the others have none. Of a
    label it is the share of pairs of which the one that holds is scored higher; ties are half."""

    def parts(positives: Ranked, taken: Ranked) -> tuple[Sums, Sums]:
        negatives = taken - positives
        below = positives - np.diff(positives, prepend=0) / 2
        pairs = (np.diff(negatives, prepend=0) * below).sum(-1)
        return pairs, positives[..., -1] * negatives[..., -1]

    return _over_labels(parts, rows, weights)


def _over_labels(parts: Callable, rows: Rows, weights: Counts) -> Values:
    """The mean of a ratio over labels. parts: numerator and denominator of one, from how many of
    the best-scored places hold and how many there are, cumulated by distinct scores."""
    if not np.isfinite(rows).all():
        return np.full(weights.shape[:-1], np.nan)
    scores, truth = np.moveaxis(rows, 1, 0).reshape(2, -1, rows.shape[-1])
    weights, found = np.repeat(weights, rows.shape[2], -1), []
    for score, holds in zip(scores.T, truth.T, strict=True):
        order = np.argsort(-score, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
        chosen = weights[..., order]
        held = np.cumsum(chosen * holds[order], -1)[..., ends]
        found.append(parts(held, np.cumsum(chosen, -1)[..., ends]))
    return _mean_of_defined(*(np.stack(one, -1) for one in zip(*found, strict=True)))


def _totals(rows: Int[np.ndarray, "examples 3 classes"], weights: Counts) -> np.ndarray:
    """The counts of the whole split, `[3, *samples, classes]`."""
    return np.moveaxis(np.tensordot(weights, rows.astype(np.float64), (-1, 0)), -2, 0)


def _ratio(above: Sums, below: Sums) -> np.ndarray:
    """nan where there is nothing below."""
    full = np.full(np.shape(above), np.nan)
    return np.divide(above, below, out=full, where=np.asarray(below) > 0)


def _mean_of_defined(above: np.ndarray, below: np.ndarray) -> Values:
    """The mean over the last axis of the ratios that are defined."""
    ratios = _ratio(above, below)
    return _ratio(np.nansum(ratios, -1), np.isfinite(ratios).sum(-1).astype(np.float64))


# name as in `types.METRICS` -> how it is computed
MEASURES = {
    "accuracy": Measure(_right, _mean),
    "error_rate": Measure(_wrong, _mean),
    "macro_f1": Measure(class_counts, _f1),
    "auroc": Measure(scored_labels, _auroc),
    "mean_average_precision": Measure(scored_labels, _average_precision),
    "mean_iou": Measure(class_counts, _iou),
    "false_negative_rate": Measure(class_counts, _missed),
    "mean_absolute_error": Measure(_absolute, _mean),
    "root_mean_squared_error": Measure(_squared, _root),
    "relative_l2": Measure(_relative, _mean),
    "mean_absolute_error_8": Measure(_near, _mean_of_known),
}


def judged(
    loss: str, metric: str, logits: Logits, y: Targets, units: Units | None = None
) -> tuple[Float[Array, " batch"], Num[Array, "batch *row"]]:
    """Of each example its loss and its row of the metric; made for `jit`. units: of targets that
    are numbers, which are learned standardised."""
    losses = LOSSES[loss](logits, standardised(y, units))
    return losses, MEASURES[metric].rows(restored(logits, units), y)


def value(metric: str, rows: Rows) -> float:
    """The metric, of rows of all examples; nan where it is not defined."""
    return float(MEASURES[metric].value(rows, np.ones(len(rows))))


def evaluated(
    metric: str,
    split: Split,
    batch_size: int,
    judge: Callable[[np.ndarray, np.ndarray], tuple[Array, Array]],
) -> Evaluation:
    """The metric and the mean loss over a whole split. judge: `(x, y) -> (losses, rows)` of a
    batch, as `judged`; the last batch is filled up, which is not counted."""
    losses, rows = [], []
    for start in range(0, len(split.y), batch_size):
        part = [array[start : start + batch_size] for array in split]
        found = judge(*(filled(array, batch_size) for array in part))
        for kept, of_batch in zip((losses, rows), found, strict=True):
            kept.append(np.asarray(of_batch)[: len(part[1])])
    rows = np.concatenate(rows)
    loss = float(np.concatenate(losses).mean(dtype=np.float64))
    return Evaluation(value(metric, rows), loss, rows)


def is_defined(task: Task, y: Num[np.ndarray, "examples *target"]) -> bool:
    """Whether the task's metric has a value on these targets, where every prediction is right."""
    measure, classes = MEASURES[task.metric], KINDS[task.kind].loss == "cross_entropy"
    if measure.value in (_mean, _root):
        return True
    found = []
    for start in range(0, len(y), _AT_ONCE):
        targets = jnp.asarray(y[start : start + _AT_ONCE])
        right = jax.nn.one_hot(targets, task.num_classes) if classes else targets
        found.append(np.asarray(measure.rows(right, targets)))
    return bool(np.isfinite(value(task.metric, np.concatenate(found))))


def bootstrap_interval(
    metric: str, rows: Rows, rng: np.random.Generator, *, num_samples: int = _SAMPLES
) -> tuple[float, float]:
    """The 95 % interval of the metric over draws of as many examples with replacement. Where rows
    are large there are fewer samples, 100 at least."""
    num_samples = min(num_samples, max(100, int(_NUMBERS / rows.size)))
    each = min(num_samples, max(1, int(1e7 / rows.size)))  # at once, in memory
    found = [
        MEASURES[metric].value(rows, bootstrap_weights(rng, each, len(rows)))
        for _ in range(-(-num_samples // each))
    ]
    return interval(np.concatenate(found)[:num_samples])
