"""CIFAR-100 (Krizhevsky 2009): 32x32 colour images in a hundred classes, 1 - accuracy.

`cifar-100-python/` as the official archive has it: `train`, `test` and `meta`, pickles of Python 2.
Of the 50,000 training images the last 10,000 are the validation part. All of them are held in
memory, 0.7 GB.
"""

from pathlib import Path

import numpy as np

from nasgen.data.arrays import from_arrays
from nasgen.data.nb360.files import check_labels, checked_dict
from nasgen.data.npy import checked_array
from nasgen.data.pickles import read_pickle
from nasgen.data.task import Dataset
from nasgen.types import Task

TASK = Task("cifar100", (32, 32, 3), 100)
FOLDER = "cifar-100"
FILES = tuple(f"cifar-100-python/{name}" for name in ("train", "test", "meta"))
VALIDATION = 0.2  # of the training images, the last ones


def load(folder: Path, *, seed: int = 0) -> Dataset:
    """The data set. Raises ValueError, in one line, where a file will not do."""
    folder = folder / "cifar-100-python"
    (x, y), test = (_part(folder / part) for part in ("train", "test"))
    names = checked_dict(_read(folder / "meta"), "meta", ["fine_label_names"])["fine_label_names"]
    kept = len(x) - round(VALIDATION * len(x))
    return from_arrays(
        x[:kept],
        y[:kept],
        name=TASK.name,
        num_classes=TASK.num_classes,
        validation=(x[kept:], y[kept:]),
        test=test,
        class_names=tuple(map(str, names)),
    )


def _part(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8, and labels. A row of the file is a plane for each colour."""
    held = checked_dict(_read(file), file.name, ["data", "fine_labels"])
    pixels = checked_array(held["data"], file.name, (None, 3072), kinds="u")
    labels = checked_array(np.asarray(held["fine_labels"]), file.name, (len(pixels),), kinds="i")
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, check_labels(labels, TASK.num_classes, file.name)


def _read(file: Path) -> object:
    with file.open("rb") as opened:
        return read_pickle(opened, file.name)
