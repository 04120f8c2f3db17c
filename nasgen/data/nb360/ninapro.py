"""NinaPro DB5 (Pizzolato et al. 2017): muscle signals of a forearm, 52 moments of 16 electrodes as
an image, in 18 gestures, 1 - accuracy.

`ninapro_PART.npy` and `label_PART.npy` for the parts train, val and test (2,638, 659 and 659),
which are kept. They take 13 MB.
"""

from pathlib import Path

import numpy as np

from nasgen.data.arrays import from_arrays
from nasgen.data.nb360.files import check_labels, read_array
from nasgen.data.task import Dataset
from nasgen.types import Task

TASK = Task("ninapro", (52, 16, 1), 18)
FOLDER = "ninapro"
PARTS = ("train", "val", "test")
FILES = tuple(f"{what}_{part}.npy" for part in PARTS for what in ("ninapro", "label"))


def load(folder: Path, *, seed: int = 0) -> Dataset:
    """The data set. Raises ValueError, in one line, where a file will not do."""
    train, validation, test = (_part(folder, part) for part in PARTS)
    options = dict(name=TASK.name, num_classes=TASK.num_classes)
    return from_arrays(*train, validation=validation, test=test, **options)


def _part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    signals = read_array(folder / f"ninapro_{part}.npy", (None, *TASK.input_shape[:2]))
    file = folder / f"label_{part}.npy"
    labels = check_labels(read_array(file, (len(signals),)), TASK.num_classes, file.name)
    return signals.astype(np.float32), labels
