"""Spherical CIFAR-100: CIFAR-100 projected onto a randomly turned sphere (Cohen et al., ICLR 2018),
60x60 colour images in a hundred classes, 1 - accuracy.

`s2_cifar100.gz`, a pickle (unpacked, `s2_cifar100`, it will do too). Of the 50,000 training images
the last 10,000 are the validation part. They stay in memory as the file has them, bytes (0.65 GB),
and become float32 a batch at a time.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np

from nasgen.data.nb360.files import check_labels, checked_dict
from nasgen.data.npy import checked_array
from nasgen.data.pickles import read_pickle
from nasgen.data.rows import rows_of
from nasgen.data.task import Dataset, Split, standardised
from nasgen.types import Task

TASK = Task("spherical", (60, 60, 3), 100)
FOLDER = "spherical"
PACKED, UNPACKED = "s2_cifar100.gz", "s2_cifar100"
FILES = (f"{PACKED}|{UNPACKED}",)
VALIDATION = 0.2  # of the training images, the last ones


def load(folder: Path, *, seed: int = 0) -> Dataset:
    """The data set. Raises ValueError, in one line, where the file will not do."""
    held = checked_dict(_read(folder), PACKED, ["train", "test"])
    (x, y), test = (_part(held[part]) for part in ("train", "test"))
    kept = len(x) - round(VALIDATION * len(x))
    parts = Split(x[:kept], y[:kept]), Split(x[kept:], y[kept:]), Split(*test)
    lazily = (Split(rows_of(part.x), part.y) for part in parts)
    return standardised(TASK, *lazily, white=255.0)


def _read(folder: Path) -> object:
    unpacked = (folder / UNPACKED).is_file()
    opened = (folder / UNPACKED).open("rb") if unpacked else gzip.open(folder / PACKED)
    try:
        with opened as file:
            return read_pickle(file, UNPACKED if unpacked else PACKED)
    except (OSError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"`path` {PACKED} cannot be unpacked: {reason}.") from None


def _part(held: object) -> tuple[np.ndarray, np.ndarray]:
    held = checked_dict(held, PACKED, ["images", "labels"])
    height, width, channels = TASK.input_shape
    shape = (None, channels, height, width)
    images = checked_array(held["images"], PACKED, shape).transpose(0, 2, 3, 1)
    labels = checked_array(held["labels"], PACKED, (len(images),))
    return images, check_labels(labels, TASK.num_classes, PACKED)
