"""CIFAR-10 (Krizhevsky 2009), 32x32 colour images in ten classes, from the user's folder of data.

`cifar10`: all 50,000 + 10,000 in the official order and split. The packed file holds them as JPEG,
which is lossy (median 30.5 dB), so figures on it are not those of the original pixels.
`cifar10_lossless`: the first 4,000 training images, exactly, split like any data of one part.
"""

import io

import numpy as np
from PIL import Image

from nasgen.data.arrays import from_arrays
from nasgen.data.folder import data_file
from nasgen.data.task import Dataset, Split, standardised, stratified_indices
from nasgen.types import Task

PACKED, LOSSLESS = "cifar10_jpeg_packed.npz", "cifar10_lossless_first4000.npz"
TASK = Task("cifar10", (32, 32, 3), 10)
VALIDATION = 0.1  # of the official training images, by `seed`


def cifar10(*, seed: int = 0) -> Dataset:
    """The packed data set: 45,000 for training, 5,000 of them held out for validation, 10,000 for
    test. Raises ValueError, in one line, where the file is missing."""
    with np.load(data_file(PACKED)) as held:
        train, test = (_unpack(held, part) for part in ("train", "test"))
    kept, chosen = stratified_indices(train.y, seed=seed, fractions=(1 - VALIDATION, VALIDATION))
    parts = Split(train.x[kept], train.y[kept]), Split(train.x[chosen], train.y[chosen]), test
    return standardised(TASK, *parts, white=255.0)


def cifar10_lossless(*, seed: int = 0) -> Dataset:
    """The exact images: 60/20/20 of 4,000. Raises ValueError where the file is missing."""
    with np.load(data_file(LOSSLESS)) as held:
        return from_arrays(held["x"], held["y"], name="cifar10_lossless", seed=seed)


def _unpack(held, part: str) -> Split:
    """The images of `part`, uint8: each lies at its offset, without the header that all share."""
    header, payload = held["headers"].tobytes(), memoryview(held[f"{part}_payload"].tobytes())
    ends, labels = held[f"{part}_offsets"].astype(np.int64), held[f"{part}_labels"]
    images = np.empty((len(labels), *TASK.input_shape), np.uint8)
    for index, (start, stop) in enumerate(zip(ends, ends[1:], strict=False)):
        images[index] = Image.open(io.BytesIO(header + payload[start:stop]))
    return Split(images, labels.astype(np.int32))
