"""Kinds of targets: told by type and shape, kept whole, split by the seed, wrong ones refused."""

import numpy as np
import pytest

from nasgen.data import load
from nasgen.data.arrays import from_arrays
from nasgen.types import KINDS

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (60, 6, 5, 3)).astype(np.uint8)
SERIES = RNG.normal(size=(60, 7, 2))
MANY = (RNG.random((60, 4)) < 0.4).astype(np.int64)
NUMBERS = RNG.normal(size=60)
MASKS = RNG.integers(0, 3, (60, 6, 5))
MAPS = RNG.normal(size=(60, 6, 5, 2)).astype(np.float32)

# targets -> kind, outputs, shape and type of one target
TOLD = [
    (np.arange(60) % 3, "classification", 3, (), np.int32),
    (MANY, "multi_label", 4, (4,), np.float32),
    (MANY.astype(bool), "multi_label", 4, (4,), np.float32),
    (NUMBERS, "regression", 1, (1,), np.float32),
    (RNG.normal(size=(60, 3)), "regression", 3, (3,), np.float32),
    (MASKS, "segmentation", 3, (6, 5), np.int32),
    (MASKS[..., None].astype(np.uint8), "segmentation", 3, (6, 5), np.int32),
    (MAPS, "dense_regression", 2, (6, 5, 2), np.float32),
    (MAPS[..., 0], "dense_regression", 1, (6, 5, 1), np.float32),
]


@pytest.mark.parametrize(
    ("y", "kind", "outputs"),
    [
        (RNG.integers(0, 2, (60, 7)), "segmentation", 2),
        (RNG.integers(0, 3, (60, 7)), "segmentation", 3),
        (RNG.normal(size=(60, 7)), "dense_regression", 1),
        (RNG.normal(size=(60, 7, 4)), "dense_regression", 4),
        (RNG.normal(size=(60, 5)), "regression", 5),
        (MANY, "multi_label", 4),
    ],
)
def test_a_target_for_each_moment_is_dense(y, kind, outputs):
    task = from_arrays(SERIES, y, dims=1).task
    assert (task.kind, task.num_classes) == (kind, outputs)


@pytest.mark.parametrize(("y", "kind", "outputs", "shape", "dtype"), TOLD)
def test_the_kind_is_told_and_every_target_comes_back_once(
    tmp_path, y, kind, outputs, shape, dtype
):
    np.savez(tmp_path / "mine.npz", x=X, y=y)
    data, again = (load("npz", path=tmp_path / "mine.npz", seed=3) for _ in range(2))
    assert (data.task.kind, data.task.num_classes) == (kind, outputs)
    assert (data.task.metric, data.task.loss) == KINDS[kind][:2]
    assert [len(split.y) for split in data[1:4]] == [36, 12, 12]
    target_of = {
        image.tobytes(): np.asarray(one, dtype).reshape(shape)
        for image, one in zip(X, y, strict=True)
    }
    for split, same in zip(data[1:4], again[1:4], strict=True):
        assert split.y.dtype == dtype and split.y.shape[1:] == shape
        assert np.array_equal(split.x, same.x) and np.array_equal(split.y, same.y)
        raw = (split.x * data.std + data.mean).round().astype(np.uint8)
        for image, target in zip(raw, split.y, strict=True):
            assert np.array_equal(target_of.pop(image.tobytes()), target)
    assert not target_of


def test_series_from_arrays():
    data = from_arrays(SERIES, np.arange(60) % 3, dims=1)
    assert data.task.input_shape == (7, 2) and data.task.stem_stride == 1
    assert np.allclose(data.train.x.mean((0, 1)), 0, atol=1e-5)
    assert np.allclose(data.train.x.std((0, 1)), 1, atol=1e-5)
    assert from_arrays(SERIES[..., 0], np.arange(60) % 3, dims=1).task.input_shape == (7, 1)


def test_whole_numbers_can_be_predicted_too():
    data = from_arrays(X, np.arange(60), kind="regression")
    assert data.task.kind == "regression" and data.train.y.shape == (36, 1)
    rows_of_one = np.eye(3, dtype=np.int64)[np.arange(60) % 3]
    assert from_arrays(X, rows_of_one, kind="multi_label").task.num_classes == 3


def test_parts_that_are_given_stay_as_they_are(tmp_path):
    path, y = tmp_path / "parts.npz", np.arange(60) % 3
    held = {"x_validation": X[:9], "y_validation": y[:9], "x_test": X[9:16], "y_test": y[9:16]}
    np.savez(path, x=X, y=y, **held)
    data = load("npz", path=path)
    for split, (images, labels) in zip(
        data[1:4], ((X, y), (X[:9], y[:9]), (X[9:16], y[9:16])), strict=True
    ):
        assert np.allclose(split.x * data.std + data.mean, images, atol=1e-3)
        assert np.array_equal(split.y, labels)


ONE_CLASS = np.where(np.arange(60)[:, None] < 0, 0, MANY * [1, 1, 0, 1])
BINARY = (255 * (MASKS > 1)).astype(np.uint8)
NAMES = np.array(["cat", "dog"])[np.arange(60) % 2]
OTHER_SIZE = "`y` must have maps of the images' 6x5 pixels; got 5x5: resize the one or the other"
NAN = np.where(np.arange(60) == 7, np.nan, NUMBERS)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (NUMBERS, {"kind": "regresion"}, "`kind` must be one of classification, multi_label"),
        (NUMBERS.astype(str), {}, "`y` must be numbers; got <U"),
        (NAMES, {}, r"got <U3 \(number the classes from 0; their names can be labels in a table"),
        (MANY[:9], {}, r"`y` must have shape \(60, classes\); got \(9, 4\)"),
        (MANY * 2, {"kind": "multi_label"}, "`y` must be 0 or 1; got 2"),
        (ONE_CLASS, {}, "`y` must vary in each column; column 2 never does"),
        (MANY, {"num_classes": 5}, "`num_classes` must be 4"),
        (NAN, {}, "`y` must be finite; 1 targets are not, the first is 7"),
        (NUMBERS * 1e300, {"kind": "regression"}, "`y` must be finite; 60 targets"),
        (NUMBERS * 0 + 0.5, {}, "column 0 never does"),
        (NUMBERS[:5], {}, r"`y` must have shape \(60, outputs\)"),
        (MASKS - 1, {}, "`y` must be 0 or more; got -1"),
        (MASKS, {"num_classes": 2}, r"`y` must be in 0..1; got 2\.$"),
        (
            MASKS * 2,
            {},
            "none of class 1: relabel the 3 values that there are, 0 to 4, as 0..2",
        ),
        (BINARY, {}, "none of class 1: relabel the 2 values that there are, 0 to 255, as 0..1"),
        (BINARY, {"num_classes": 2}, "must be in 0..1; got 255: relabel the 2 values"),
        (MASKS, {"num_classes": 4}, r"got none of class 3\.$"),
        (MASKS * 0, {}, r"got one class\.$"),
        (MASKS * 0 + 255, {}, r"got none of class 0\.$"),
        (MASKS.astype(np.float32), {"kind": "segmentation"}, r"integers of shape \(60, 6, 5\)"),
        (MASKS[:, :5], {"kind": "segmentation"}, OTHER_SIZE),
        (MASKS[:, :5], {}, OTHER_SIZE),
        (MASKS[:, :5] > 0, {}, OTHER_SIZE),
        (MAPS[:, :5], {}, OTHER_SIZE),
        (MAPS[:, :5], {"kind": "dense_regression"}, OTHER_SIZE),
        (MASKS, {"test": (X[:2], MASKS[:2, :, :4])}, "`y_test` must have maps .* got 6x4: resize"),
        (
            np.arange(60) // 30 * 255,
            {},
            "60 examples for 256 classes: relabel the 2 values",
        ),
        (
            np.arange(60) % 3 + 1,
            {},
            "0 of class 0: relabel the 3 values .* 1 to 3, as 0..2",
        ),
        (
            np.arange(60),
            {},
            "1 of class 0 .for numbers .*, --config.task.kind=regression",
        ),
        (np.arange(60) * 7, {}, "60 examples for 414 classes .for numbers to predict set `kind`"),
        (np.arange(60) - 9, {}, "0 or more; got -9 .for numbers to predict set `kind` to 'regr"),
        (MASKS, {"test": (X[:2], MASKS[:2] + 1)}, "`y_test` must be in 0..2; got 3"),
        (MAPS, {"test": (X[:2], MAPS[:2, ..., :1])}, "`y_test` must have 2 columns"),
        (MAPS, {"validation": (X, MAPS)}, "`validation` must come with `test`"),
        (NUMBERS, {"dims": 3}, "`dims` must be 1 .* or 2 .*; got 3"),
    ],
)
def test_what_is_wrong_is_said(y, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        from_arrays(X, y, **options)
    assert "\n" not in str(caught.value)
