"""What is kept of a network's predictions, for each kind of task."""

import numpy as np
import pytest

from nasgen.data.task import Dataset, Split
from nasgen.pipeline import predictions
from nasgen.types import KINDS, Task

NUM = 300


def _dataset(kind: str, shape: tuple[int, ...]) -> Dataset:
    rng, one = np.random.default_rng(0), KINDS[kind]
    task = Task("made", shape, 3, kind=kind, metric=one.metric, loss=one.loss)
    outputs = () if one.loss == "cross_entropy" else (3,)
    targets = (NUM, *(shape[:-1] if task.is_dense else ()), *outputs)
    y = rng.integers(0, 2, targets).astype(one.targets)
    x = rng.normal(size=(NUM, *shape)).astype(np.float32)
    channels = np.ones(shape[-1], np.float32)
    return Dataset(task, *[Split(x, y)] * 3, mean=channels, std=2 * channels)


@pytest.mark.parametrize("shape", [(130, 6, 2), (600, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_is_small_and_whole(kind, shape, tmp_path):
    dataset = _dataset(kind, shape)
    task = dataset.task
    places = predictions.spread(NUM, task)
    rows = (*shape[:-1], 3) if task.is_dense else (3,)
    logits = np.random.default_rng(1).normal(size=(len(places), *rows)).astype(np.float32)
    predictions.keep_predictions(logits, places, dataset, tmp_path)
    with np.load(tmp_path / predictions.FILE) as file:
        kept = dict(file)
    sides = kept["inputs"].shape[1:-1]
    assert max(sides) <= (256 if task.is_series else 64)
    step = -(-shape[0] // (256 if task.is_series else 64))
    raw = dataset.test.x[places[kept["chosen"]]] * 2 + 1
    np.testing.assert_allclose(kept["inputs"], raw[:, ::step], rtol=1e-6)
    if task.is_dense:
        assert kept["errors"].shape == sides and len(kept["targets"]) == len(kept["inputs"])
    else:
        np.testing.assert_array_equal(kept["targets"], dataset.test.y[places])
        assert len(kept["predictions"]) == len(places) and len(kept["inputs"]) == 12


def test_the_surest_mistakes_are_looked_at_first():
    task = Task("made", (8, 8, 1), 3)
    kept = {
        "predictions": np.array([0, 1, 2, 0, 1]),
        "confidences": np.array([0.9, 0.6, 0.99, 0.4, 0.8]),
    }
    targets = np.array([0, 0, 0, 0, 0])
    assert predictions.choose(kept, targets, task).tolist() == [2, 4, 1, 3, 0]


def test_confidences_are_those_of_softmax():
    logits = np.array([[0.0, np.log(3.0), 0.0], [1_000.0, 0.0, 0.0]], np.float32)
    found = predictions.predictions_of(logits, Task("made", (8, 8, 1), 3))
    np.testing.assert_allclose(found["confidences"], [0.6, 1.0], rtol=1e-6)
    assert found["predictions"].tolist() == [1, 0]
