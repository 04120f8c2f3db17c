"""CIFAR-10: the official split, stratified validation, the same images in all files."""

import io
import os
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from nasgen.data import load
from nasgen.data.folder import VARIABLE


@pytest.fixture(scope="module")
def lossless(shared_data):
    return load("cifar10_lossless")


@pytest.mark.slow
def test_the_packed_set_has_the_official_split(shared_data, lossless):
    data = load("cifar10", seed=1)
    sizes = [len(split.y) for split in (data.train, data.validation, data.test)]
    assert sizes == [45_000, 5_000, 10_000]
    for split in (data.train, data.validation, data.test):
        assert (np.bincount(split.y) == len(split.y) // 10).all()
        assert split.x.dtype == np.float32 and split.y.dtype == np.int32
    assert abs(data.train.x[:2000].mean()) < 0.1
    # The lossy and the exact images are the same pictures: as near as JPEG leaves them.
    exact = np.concatenate([split.x for split in lossless[1:4]]) * lossless.std + lossless.mean
    first = data.validation.x[0] * data.std + data.mean
    errors = np.abs(exact - first[None]).mean((1, 2, 3))
    labels = np.concatenate([split.y for split in lossless[1:4]])
    assert errors.min() < 12 and np.sort(errors)[1] > 20
    assert labels[errors.argmin()] == data.validation.y[0]


def test_the_exact_images(lossless):
    assert [len(split.y) for split in lossless[1:4]] == [2400, 800, 800]
    raw = lossless.train.x * lossless.std + lossless.mean
    assert np.allclose(raw, raw.round(), atol=1e-3) and 0 <= raw.min() and raw.max() <= 255.01
    assert lossless.task.input_shape == (32, 32, 3) and lossless.task.num_classes == 10


def test_a_missing_file_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match="or cifar10_jpeg_packed.npz; .* set NASGEN_DATA"):
        load("cifar10")


def packed(side=32, mode="RGB"):
    """The arrays of a packed file of 60 + 20 images, each of one colour, as uint8; the colours."""
    colours = np.random.default_rng(0).integers(0, 256, (80, 3)).astype(np.uint8)
    files = []
    for colour in colours:
        file = io.BytesIO()
        Image.new("RGB", (side, side), tuple(colour.tolist())).convert(mode).save(file, "JPEG")
        files.append(file.getvalue())
    header = os.path.commonprefix(files)
    assert len(header) > 300
    arrays = {"headers": np.frombuffer(header, np.uint8)}
    for part, some in (("train", files[:60]), ("test", files[60:])):
        payloads = [file[len(header) :] for file in some]
        arrays[f"{part}_payload"] = np.frombuffer(b"".join(payloads), np.uint8)
        arrays[f"{part}_offsets"] = np.cumsum([0, *map(len, payloads)]).astype(np.uint32)
        arrays[f"{part}_labels"] = (np.arange(len(some)) % 10).astype(np.uint8)
    return arrays, colours


def test_each_image_is_unpacked_with_its_label(tmp_path, monkeypatch):
    arrays, colours = packed()
    np.savez(tmp_path / "cifar10_jpeg_packed.npz", **arrays)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    data = load("cifar10")
    assert [len(split.y) for split in data[1:4]] == [50, 10, 20] and "lossy" in data.notes[0]
    raw = data.test.x * data.std + data.mean
    assert np.abs(raw - colours[60:, None, None]).max() < 8  # JPEG
    assert np.array_equal(data.test.y, np.arange(20) % 10)


@pytest.fixture
def official(tmp_path, monkeypatch):
    """A folder with official batches of 20 images each; their images and labels."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(import_module("nasgen.data.cifar10"), "RECORDS", 20)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (120, 32, 32, 3), np.uint8)
    labels = (np.arange(120) % 10).astype(np.uint8)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        rows = slice(20 * number, 20 * number + 20)
        records = [
            bytes([label]) + b"".join(image[:, :, channel].tobytes() for channel in range(3))
            for label, image in zip(labels[rows], images[rows], strict=True)
        ]
        (folder / f"{name}.bin").write_bytes(b"".join(records))
    return folder, images, labels


def test_official_batches_are_read_exactly_and_before_the_packed_file(official):
    folder, images, labels = official
    np.savez(folder.parent / "cifar10_jpeg_packed.npz", **packed()[0])
    data = load("cifar10")
    assert [len(split.y) for split in data[1:4]] == [90, 10, 20] and data.notes == ()
    assert np.allclose(data.test.x * data.std + data.mean, images[100:], atol=1e-3)
    assert np.array_equal(data.test.y, labels[100:])
    seen = np.concatenate([data.train.x, data.validation.x]) * data.std + data.mean
    sums = images[:100].sum((1, 2, 3), dtype=np.int64).tolist()
    told = np.concatenate([data.train.y, data.validation.y]).tolist()
    found = zip(seen.round().sum((1, 2, 3), dtype=np.int64).tolist(), told, strict=True)
    assert sorted(found) == sorted(zip(sums, labels[:100].tolist(), strict=True))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), "it has no data_batch_3.bin"),
        (lambda file: file.write_bytes(b""), "it has 0 bytes"),
        (
            lambda file: file.write_bytes(file.read_bytes()[:-3073]),
            "20 records of 3,073 bytes; it has 58",
        ),
        (lambda file: file.write_bytes(b"\x0a" + file.read_bytes()[1:]), "in 0..9; got 10"),
    ],
)
def test_official_batches_that_are_not_whole_are_one_line(official, spoil, message):
    spoil(official[0] / "data_batch_3.bin")
    with pytest.raises(ValueError, match=message) as caught:
        load("cifar10")
    assert "\n" not in str(caught.value) and "data_batch_3.bin" in str(caught.value)


def changed(**changes):
    arrays, _ = packed()
    return {**arrays, **{name: change(arrays[name]) for name, change in changes.items()}}


def without(name):
    return {key: value for key, value in packed()[0].items() if key != name}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"x": np.zeros(3)}, "must hold the arrays headers, train_payload, .* no headers"),
        (lambda: without("test_labels"), "it has no test_labels"),
        (lambda: changed(test_payload=lambda a: a[:-9]), "number 19 of test is none .*truncated"),
        (lambda: changed(train_offsets=lambda a: a[:-1]), r"train_offsets must be of shape \(61\)"),
        (lambda: changed(train_offsets=np.float32), "train_offsets must be numbers"),
        (lambda: changed(test_labels=lambda a: a + 3), "test_labels` must be in 0..9; got 12"),
        (lambda: changed(headers=lambda a: a[9:]), "number 0 of train is none"),
        (lambda: packed(side=30)[0], "number 0 of train is none .30x30 pixels, RGB"),
        (lambda: packed(mode="L")[0], "32x32 pixels, L"),
    ],
)
def test_another_file_is_one_line(tmp_path, monkeypatch, make, message):
    np.savez(tmp_path / "cifar10_jpeg_packed.npz", **make())
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match=message) as caught:
        load("cifar10")
    assert "\n" not in str(caught.value) and "cifar10_jpeg_packed" in str(caught.value)


@pytest.mark.parametrize("name", ["cifar10", "cifar10_lossless"])
def test_half_a_file_is_one_line(tmp_path, monkeypatch, name):
    arrays = {"x": np.zeros((60, 32, 32, 3), np.uint8), "y": np.arange(60) % 3, **packed()[0]}
    for file in ("cifar10_jpeg_packed.npz", "cifar10_lossless_first4000.npz"):
        np.savez(tmp_path / file, **arrays)
        content = (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(content[: len(content) // 2])
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match="must be an .npz file of plain arrays") as caught:
        load(name)
    assert "\n" not in str(caught.value)
