"""CIFAR-10 (Krizhevsky 2009), 32x32 colour images in ten classes, from the user's folder of data.

`cifar10`: all 50,000 + 10,000 in the official order and split, of the official binary version (its
folder `cifar-10-batches-bin`), or, where that is missing, of a packed file, which holds them as
JPEG. That is lossy (median 30.5 dB), so figures on it are not those of the original pixels.
`cifar10_lossless`: the first 4,000 training images, exactly, split like any data of one part.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from nasgen.data.arrays import from_arrays, read_npz
from nasgen.data.folder import VARIABLE, data_file, data_folder
from nasgen.data.npy import checked_array
from nasgen.data.targets import check_highest
from nasgen.data.task import Dataset, Split, standardised, stratified_indices
from nasgen.types import Task

OFFICIAL, PACKED = "cifar-10-batches-bin", "cifar10_jpeg_packed.npz"
LOSSLESS = "cifar10_lossless_first4000.npz"
BATCHES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
RECORDS = 10_000  # of each batch
TASK = Task("cifar10", (32, 32, 3), 10)
PARTS = ("payload", "offsets", "labels")  # of the packed file, for each split
VALIDATION = 0.1  # of the official training images, by `seed`


def cifar10(*, seed: int = 0) -> Dataset:
    """The data set: 45,000 for training, 5,000 of them held out for validation, 10,000 for test.
    Raises ValueError, in one line, where its files are missing, damaged or others."""
    folder, notes = data_folder() / OFFICIAL, ()
    if folder.is_dir():
        train, test = (_read(folder, names) for names in BATCHES.values())
    elif not folder.with_name(PACKED).is_file():
        raise ValueError(
            f"CIFAR-10 needs {OFFICIAL} (the official binary version, unpacked) or {PACKED}; "
            f"{folder.parent} has neither: set {VARIABLE} to another folder."
        )
    else:
        notes = (
            "The images are JPEG, which is lossy: figures are not those of CIFAR-10's pixels.",
        )
        parts = {part: [f"{part}_{what}" for what in PARTS] for part in BATCHES}
        held = _arrays(PACKED, ["headers", *parts["train"], *parts["test"]])
        train, test = (_unpack(held, part) for part in parts)
    kept, chosen = stratified_indices(train.y, seed=seed, fractions=(1 - VALIDATION, VALIDATION))
    parts = Split(train.x[kept], train.y[kept]), Split(train.x[chosen], train.y[chosen]), test
    return standardised(TASK, *parts, notes=notes, white=255.0)


def cifar10_lossless(*, seed: int = 0) -> Dataset:
    """The exact images: 60/20/20 of 4,000. Raises ValueError as `cifar10`."""
    held = _arrays(LOSSLESS, ["x", "y"])
    return from_arrays(held["x"], held["y"], name="cifar10_lossless", seed=seed)


def _read(folder: Path, names: Sequence[str]) -> Split:
    """The images of official batches: records of a label and the bytes of its image, a channel
    after the other, row by row."""
    height, width, channels = TASK.input_shape
    size = 1 + height * width * channels
    batches = []
    for name in names:
        file = folder / name
        if not file.is_file():
            raise ValueError(f"{folder} must hold {', '.join(names)}; it has no {name}.")
        content = np.fromfile(file, np.uint8)
        if len(content) != RECORDS * size:
            raise ValueError(
                f"{file} must hold {RECORDS:,} records of {size:,} bytes; "
                f"it has {len(content):,} bytes."
            )
        batches.append(content.reshape(-1, size))
        check_highest(batches[-1][:, 0], TASK.num_classes, f"{file}: labels")
    records = np.concatenate(batches)
    images = records[:, 1:].reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    return Split(images, records[:, 0].astype(np.int32))


def _arrays(name: str, keys: Sequence[str]) -> dict[str, np.ndarray]:
    file = data_file(name)
    arrays = read_npz(file, keys)
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise ValueError(f"{file} must hold the arrays {', '.join(keys)}; it has no {missing[0]}.")
    return arrays


def _unpack(held: Mapping[str, np.ndarray], part: str) -> Split:
    """The images of `part`, uint8: each lies at its offset, without the header that all share."""
    names = ["headers", *(f"{part}_{what}" for what in PARTS)]
    header, payload, ends, labels = (
        checked_array(held[name], f"{PACKED}: {name}", (None,), kinds="u") for name in names
    )
    checked_array(ends, f"{PACKED}: {part}_offsets", (len(labels) + 1,))
    check_highest(labels, TASK.num_classes, f"{PACKED}: {part}_labels")
    header, payload, ends = header.tobytes(), payload.tobytes(), ends.astype(np.int64)
    images = np.empty((len(labels), *TASK.input_shape), np.uint8)
    for index, (start, stop) in enumerate(zip(ends, ends[1:], strict=False)):
        try:
            images[index] = _decoded(header + payload[start:stop])
        except Exception as error:  # Pillow raises whatever its decoders meet in broken bytes
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"{PACKED} must hold JPEG images; number {index} of {part} is none ({reason})."
            ) from None
    return Split(images, labels.astype(np.int32))


def _decoded(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file), formats=["JPEG"]) as image:
        height, width, _ = TASK.input_shape
        if image.size != (width, height) or image.mode != "RGB":
            raise ValueError(f"{image.height}x{image.width} pixels, {image.mode}")
        return np.asarray(image)
