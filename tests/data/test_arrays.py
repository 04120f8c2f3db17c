"""Own arrays: what is right is taken, what is wrong is said in one line."""

import numpy as np
import pytest

from nasgen.data import load
from nasgen.data.arrays import from_arrays

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (60, 6, 5, 3)).astype(np.uint8)
Y = np.arange(60) % 3


def test_arrays_become_a_task():
    data = from_arrays(X, Y, name="mine", seed=3)
    assert data.task[:3] == ("mine", (6, 5, 3), 3)
    assert [len(split.y) for split in data[1:4]] == [36, 12, 12]
    assert np.allclose(data.train.x.mean((0, 1, 2)), 0, atol=1e-5)
    assert np.allclose(data.train.x.std((0, 1, 2)), 1, atol=1e-5)
    # Every raw image comes back, with its own label.
    label_of = {image.tobytes(): label for image, label in zip(X, Y, strict=True)}
    for split in data[1:4]:
        raw = (split.x * data.std + data.mean).round().astype(np.uint8)
        assert [label_of.pop(image.tobytes()) for image in raw] == list(split.y)
    assert not label_of


def test_grey_images_gain_a_channel_and_constant_channels_stay_finite():
    data = from_arrays(np.full((60, 4, 4), 7.0), Y)
    assert data.task.input_shape == (4, 4, 1)
    assert not data.train.x.any()


def test_npz_with_its_own_test_part(tmp_path):
    path = tmp_path / "photos.npz"
    np.savez(path, x=X, y=Y, x_test=X[:7], y_test=Y[:7])
    data = load("npz", path=path, seed=0)
    assert data.task.name == "photos"
    assert [len(split.y) for split in data[1:4]] == [48, 12, 7]
    assert np.allclose(data.test.x * data.std + data.mean, X[:7], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("x_val", "x_validation"),
        ("Y_test", "y_test"),
        ("test_y", "y_test"),
        ("x_tset", "x_test"),
        ("x_train", "x"),
        ("valid_x", "x_validation"),
        ("file_names", None),
        ("mean", None),
    ],
)
def test_arrays_of_other_names_are_said(tmp_path, name, meant):
    np.savez(tmp_path / "mine.npz", x=X, y=Y, **{name: X[:3]})
    np.savez(tmp_path / "plain.npz", x=X, y=Y)
    data, plain = (load("npz", path=tmp_path / file) for file in ("mine.npz", "plain.npz"))
    guess = "" if meant is None else f" (is {meant!r} meant?)"
    assert data.notes == (f"Arrays of other names were not read: {name!r}{guess}.",)
    assert plain.notes == () and np.array_equal(data.train.x, plain.train.x)


def with_nan():
    x = X.astype(np.float32)
    x[41, 0, 0, 0] = np.nan
    return x


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (X.astype(np.int64), Y, {}, "`x` must be uint8 or floating; got int64"),
        (X.astype(object), Y, {}, "`x` must be uint8 or floating; got object"),
        (X[:, 0, 0], Y, {}, r"`x` must be \[examples, height, width"),
        (X[:0], Y[:0], {}, r"`x` must be .* none of them 0"),
        (X[:, :1], Y, {}, "`x` must have sides of 2"),
        (with_nan(), Y, {}, "`x` must be finite; 1 images are not, the first is 41"),
        (X, Y.astype(np.float32), {}, "`y` must be integers; got float32"),
        (X, Y[:-1], {}, r"`y` must have shape \(60,\)"),
        (X, np.eye(3, dtype=np.int32)[Y], {}, r"`y` must have shape \(60,\)"),
        (X, Y - 1, {}, "`y` must be 0 or more; got -1"),
        (X, Y, {"num_classes": 2}, "`y` must be in 0..1; got 2"),
        (X, Y * 0, {}, "`y` must have two classes"),
        (X, Y + 1, {}, "got 0 of class 0"),
        (X, Y, {"num_classes": 4}, "got 0 of class 3"),
        (X, Y, {"class_names": ("cat", "dog")}, "as many as the classes, 3; got 2"),
        (X, Y, {"class_names": tuple("abcd")}, "as many as the classes, 3; got 4"),
        (X, np.eye(4)[Y].astype(int), {"kind": "multi_label", "class_names": ("a",)}, "4; got 1"),
        (X, Y * 10**9, {}, "got 60 examples for"),
        (X, Y.astype(np.int64) * 10**11, {}, "`y` must fit in 32 bits"),
        (X[:12], Y[:12], {}, "must have 5 examples or more of each class 0..2; got 4"),
        (X, Y, {"test": (X[:, :4], Y)}, "`x_test` must have images of"),
        (X, Y, {"test": (X, Y + 1)}, "`y_test` must be in 0..2; got 3"),
        (X, Y, {"test": (X, Y[:3])}, "`y_test` must have shape"),
    ],
)
def test_what_is_wrong_is_said(x, y, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        from_arrays(x, y, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not an archive", "must be an .npz file of plain arrays"),
        (b"", "must be an .npz file of plain arrays"),
        ({"x": X}, "must hold the arrays 'x' and 'y'"),
        ({"x_train": X, "y_train": Y}, r"has \[\]. Arrays of .*'x_train' \(is 'x' meant\?\), 'y_t"),
        ({"x": X, "y": Y, "x_test": X, "y_Test": Y}, "or neither; .*'y_Test'.*'y_test' meant"),
        ({"x": X, "y": Y, "x_test": X}, "both 'x_test' and 'y_test' or neither"),
        ({"x": X, "y": np.array(["a", None] * 30, object)}, "of plain arrays"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "mine.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    with pytest.raises(ValueError, match=message) as caught:
        load("npz", path=path)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match="is not a file"):
        load("npz", path=tmp_path)
    single = tmp_path / "single.npz"
    with single.open("wb") as file:
        np.save(file, X)
    with pytest.raises(ValueError, match="of plain arrays"):
        load("npz", path=single)


@pytest.mark.parametrize(
    ("convert", "white"),
    [
        (lambda x: (255 * x).astype(np.uint8), 255.0),
        (lambda x: x, 1.0),
        (lambda x: 2 * x - 1, None),  # centred already: no picture has such values
        (lambda x: 16 * x, None),  # nothing says what white is
        (lambda x: x[..., :2], None),  # no picture has two channels
    ],
)
def test_white_of_pictures_is_told_by_the_values(convert, white):
    x = np.random.default_rng(0).random((30, 4, 4, 3)).astype(np.float32)
    assert from_arrays(convert(x), np.arange(30) % 3).white == white


def test_another_metric_of_the_kind_may_judge():
    assert from_arrays(X, Y).task.metric == "accuracy"
    assert from_arrays(X, Y, metric="macro_f1").task.metric == "macro_f1"
    with pytest.raises(ValueError, match="`metric` of arrays must be one of accuracy, auroc, "):
        from_arrays(X, Y, metric="mean_iou")
