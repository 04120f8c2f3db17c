"""Splits: stratified, disjoint, fixed by the seed; standardised by the training split alone."""

import numpy as np
import pytest

from nasgen.data import DATASETS, load
from nasgen.data.task import check_objective, stratified_indices
from nasgen.types import KINDS, Task


@pytest.mark.parametrize("seed", [0, 1])
def test_digits(seed):
    data = load("digits", seed=seed)
    splits = (data.train, data.validation, data.test)
    assert sum(len(split.y) for split in splits) == 1797
    for split, fraction in zip(splits, (0.6, 0.2, 0.2), strict=True):
        assert split.x.shape == (len(split.y), *data.task.input_shape)
        assert (split.x.dtype, split.y.dtype) == (np.float32, np.int32)
        assert abs(len(split.y) / 1797 - fraction) < 0.003
        shares = np.bincount(split.y, minlength=10) / len(split.y)
        assert np.allclose(shares, np.bincount(data.train.y) / len(data.train.y), atol=0.005)
    assert abs(data.train.x.mean()) < 1e-5 and abs(data.train.x.std() - 1) < 1e-5
    raw = data.test.x * data.std + data.mean
    assert np.allclose(raw, raw.round(), atol=1e-4) and raw.max() <= 16.001
    assert data.white == 16


def test_digits_split_follows_the_seed():
    first, same, other = (load("digits", seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.test.x, same.test.x)
    assert not np.array_equal(first.test.y, other.test.y)


def test_no_digit_is_in_two_splits():
    data = load("digits", seed=0)
    seen = [{image.tobytes() for image in split.x} for split in data[1:4]]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_stratified_indices_partition():
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = np.concatenate([np.arange(4).repeat(3), rng.integers(0, 4, rng.integers(1, 60))])
        parts = stratified_indices(labels, seed=int(rng.integers(100)))
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
        for part in parts:
            assert set(labels[part]) == {0, 1, 2, 3}


def test_class_too_small_to_split():
    with pytest.raises(ValueError, match="got 2 of class 1"):
        stratified_indices(np.array([0, 0, 0, 1, 1]), seed=0)


def test_unknown_data_set_lists_the_known_ones_and_the_nearest():
    with pytest.raises(ValueError, match="'digits'.*Did you mean 'digits'"):
        load("digit")
    assert all(callable(loader) for loader in DATASETS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_metrics_and_its_loss(kind):
    task = Task("mine", (8, 8, 1), 3, kind, KINDS[kind].metric, KINDS[kind].loss)
    check_objective(task)
    with pytest.raises(ValueError, match=f"`metric` of mine must be one of .*{task.metric}.*bleu"):
        check_objective(task._replace(metric="bleu"))
    with pytest.raises(ValueError, match=f"`loss` of mine must be '{task.loss}'.* got 'huber'"):
        check_objective(task._replace(loss="huber"))


def test_a_metric_is_for_its_kinds():
    check_objective(Task("mine", (8, 8, 1), 3, metric="macro_f1"))
    with pytest.raises(ValueError, match="for classification; got 'mean_iou'"):
        check_objective(Task("mine", (8, 8, 1), 3, metric="mean_iou"))
