"""Metrics are exact over whole splits: against scikit-learn, by hand, and in bootstrap samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

from nasgen.training import task_metrics
from nasgen.training.task_metrics import MEASURES, bootstrap_interval, is_defined, value
from nasgen.types import KINDS, METRICS, Task


def rows_of(metric: str, predictions, targets) -> np.ndarray:
    """In batches of unequal size, as of a split whose last batch is filled up."""
    rows = jax.jit(MEASURES[metric].rows)
    cuts = [(predictions[i : i + 4], targets[i : i + 4]) for i in range(0, len(targets), 4)]
    return np.concatenate([np.asarray(rows(*map(jnp.asarray, part))) for part in cuts])


def measured(metric: str, predictions, targets) -> float:
    return value(metric, rows_of(metric, predictions, targets))


def example(kind: str, num: int = 23, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predictions, far from right, and targets of a kind; `[num, 30, 30, ...]` where dense."""
    rng = np.random.default_rng(seed)
    places = (30, 30) if KINDS[kind] in (KINDS["segmentation"], KINDS["dense_regression"]) else ()
    outputs = 1 if kind == "dense_regression" else 3
    logits = rng.normal(size=(num, *places, outputs)).astype(np.float32)
    if KINDS[kind].loss == "cross_entropy":
        return logits, rng.integers(0, 3, (num, *places)).astype(np.int32)
    if kind == "multi_label":
        return logits, rng.integers(0, 2, (num, 3)).astype(np.float32)
    targets = rng.uniform(2, 12, (num, *places, outputs)).astype(np.float32)
    return 4 * logits, targets if not places else (targets + targets.swapaxes(1, 2)) / 2


CASES = [(name, kind) for name, one in METRICS.items() for kind in one.kinds]


@pytest.mark.parametrize(("metric", "kind"), CASES)
def test_right_predictions_are_the_best_and_the_interval_holds_the_value(metric, kind):
    logits, targets = example(kind)
    found = measured(metric, logits, targets)
    perfect = targets
    if KINDS[kind].loss == "cross_entropy":
        perfect = 9 * np.eye(3, dtype=np.float32)[targets]
    elif kind == "multi_label":
        perfect = targets - 0.5
    best = measured(metric, perfect, targets)
    assert best == (1 if METRICS[metric].higher else 0)
    assert (found < best - 0.05) if METRICS[metric].higher else (found > best + 0.05)
    assert not METRICS[metric].fraction or 0 <= found <= 1
    rows = rows_of(metric, logits, targets)
    low, high = bootstrap_interval(metric, rows, np.random.default_rng(0), num_samples=200)
    assert low < found < high or metric == "macro_f1" and low <= found <= high
    # As often as given, which is what a bootstrap sample is.
    weights = np.random.default_rng(1).integers(0, 4, (2, len(rows))).astype(float)
    for row, one in zip(weights, MEASURES[metric].value(rows, weights), strict=True):
        repeated = np.repeat(rows, row.astype(int), 0)
        assert float(one) == pytest.approx(value(metric, repeated), rel=1e-6)


@pytest.mark.parametrize(("metric", "kind"), CASES)
def test_metrics_are_defined_on_what_they_are_made_for(metric, kind):
    _, targets = example(kind, num=300)
    outputs = 1 if kind == "dense_regression" else 3
    task = Task("made", (30, 30, 1), outputs, kind, metric, KINDS[kind].loss)
    assert is_defined(task, targets)
    needs = {"auroc": 0, "mean_average_precision": 0, "false_negative_rate": 0}
    needs["mean_absolute_error_8"] = 9  # no two places so near
    if metric in needs:
        assert not is_defined(task, np.full_like(targets, needs[metric]))


def test_every_metric_is_computed():
    assert MEASURES.keys() == METRICS.keys()


def test_of_classes_as_scikit_learn_has_them():
    logits, classes = example("classification", 200)
    found = logits.argmax(1)
    assert measured("accuracy", logits, classes) == metrics.accuracy_score(classes, found)
    assert measured("error_rate", logits, classes) == pytest.approx(
        1 - metrics.accuracy_score(classes, found)
    )
    wanted = metrics.f1_score(classes, found, average="macro")
    assert measured("macro_f1", logits, classes) == pytest.approx(wanted)
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = metrics.roc_auc_score(classes, odds, multi_class="ovr")
    assert measured("auroc", logits, classes) == pytest.approx(wanted)
    wanted = metrics.roc_auc_score(classes[:40] % 2, logits[:40, 1] - logits[:40, 0])
    assert measured("auroc", logits[:40, :2], classes[:40] % 2) == pytest.approx(wanted)


def test_of_labels_as_scikit_learn_has_them():
    logits, labels = example("multi_label", 200)
    logits = np.round(logits, 1)  # many ties
    for metric, theirs in (
        ("mean_average_precision", metrics.average_precision_score),
        ("auroc", metrics.roc_auc_score),
    ):
        wanted = theirs(labels, logits, average="macro")
        assert measured(metric, logits, labels) == pytest.approx(wanted, rel=1e-6)
        # A label that never holds has none and is left out.
        fewer = labels * np.float32([1, 0, 1])
        wanted = np.mean([theirs(labels[:, i], logits[:, i]) for i in (0, 2)])
        assert measured(metric, logits, fewer) == pytest.approx(wanted, rel=1e-6)
        assert np.isnan(measured(metric, logits, np.zeros_like(labels)))
        assert np.isnan(measured(metric, np.full_like(logits, np.nan), labels))


def test_of_places_as_scikit_learn_has_them():
    logits, classes = example("segmentation", 9)
    true, found = classes.ravel(), logits.argmax(-1).ravel()
    wanted = metrics.jaccard_score(true, found, average="macro")
    assert measured("mean_iou", logits, classes) == pytest.approx(wanted)
    wanted = metrics.f1_score(true, found, average="macro")
    assert measured("macro_f1", logits, classes) == pytest.approx(wanted)
    two = classes % 2
    wanted = metrics.roc_auc_score(two.ravel(), (logits[..., 1] - logits[..., 0]).ravel())
    assert measured("auroc", logits[..., :2], two) == pytest.approx(wanted, rel=1e-6)
    wanted = 1 - metrics.recall_score(two.ravel(), logits[..., :2].argmax(-1).ravel())
    assert measured("false_negative_rate", logits[..., :2], two) == pytest.approx(wanted)


def test_a_class_that_is_nowhere_is_left_out_of_the_mean():
    logits = 5 * np.eye(4, dtype=np.float32)[np.array([[0, 0, 1, 1]])]
    two, one = np.array([[0, 1, 1, 1]]), np.array([[0, 0, 0, 0]])
    assert measured("mean_iou", logits, two) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert measured("macro_f1", logits, two) == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert measured("mean_iou", logits, one) == 0.25  # one that is predicted and is nowhere: 0


def test_of_numbers_as_scikit_learn_has_them():
    found, targets = example("regression", 50)
    for metric, theirs in (
        ("mean_absolute_error", metrics.mean_absolute_error),
        ("root_mean_squared_error", metrics.root_mean_squared_error),
    ):
        flat = theirs(targets.ravel(), found.ravel())
        assert measured(metric, found, targets) == pytest.approx(flat, rel=1e-5)
    maps, truth = example("dense_regression", 5)
    parts = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(maps, truth, strict=True)]
    assert measured("relative_l2", maps, truth) == pytest.approx(np.mean(parts), rel=1e-5)


def test_errors_of_near_pairs_by_loops():
    maps, truth = example("dense_regression", 4)
    truth[2] = 9  # a protein without near pairs is left out
    errors = []
    for found, true in zip(maps[..., 0], truth[..., 0], strict=True):
        pairs = [(i, j) for i in range(30) for j in range(i + 24, 30) if true[i, j] <= 8]
        if pairs:
            each = [abs((found[i, j] + found[j, i]) / 2 - true[i, j]) for i, j in pairs]
            errors.append(np.mean(each))
    assert len(errors) == 3
    wanted = pytest.approx(np.mean(errors), rel=1e-5)
    assert measured("mean_absolute_error_8", maps, truth) == wanted
    assert np.isnan(measured("mean_absolute_error_8", maps, np.full_like(truth, 9)))


def test_bootstrap_intervals_cover():
    """In some 95 % of repeated experiments the interval holds what a large sample says."""
    truth = np.random.default_rng(0).normal(size=100_000)
    mean = np.sqrt((truth**2).mean())
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed + 1)
        low, high = bootstrap_interval(
            "root_mean_squared_error", rng.choice(truth, 80) ** 2, rng, num_samples=300
        )
        held += low <= mean <= high
    assert 86 <= held <= 100


def test_large_rows_are_drawn_in_parts(monkeypatch):
    rows = rows_of("mean_iou", *example("segmentation", 9))
    whole = bootstrap_interval("mean_iou", rows, np.random.default_rng(0), num_samples=100)
    monkeypatch.setattr(task_metrics, "_NUMBERS", 1.0)
    few = bootstrap_interval("mean_iou", rows, np.random.default_rng(0))  # 100 at least
    assert few == whole
