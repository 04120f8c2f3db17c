"""Satellite (Petitjean et al. 2012): 46 moments of a pixel's vegetation index over a year, in 24
classes of land cover, 1 - accuracy.

`satellite_train.npy` and `satellite_test.npy`, a pickled dict of `data` and `label` (1..24) each.
Of the training series as many as there are test series, the last ones, are the validation part
(800,000, 100,000 and 100,000). Each series is brought to mean 0 and deviation 1 first, as the
benchmark does. They take 0.2 GB.
"""

from pathlib import Path

import numpy as np

from nasgen.data.arrays import from_arrays
from nasgen.data.nb360.files import check_labels, checked_dict
from nasgen.data.npy import checked_array
from nasgen.data.pickles import read_npy
from nasgen.data.task import Dataset
from nasgen.types import Task

TASK = Task("satellite", (46, 1), 24)
FOLDER = "satellite"
FILES = ("satellite_train.npy", "satellite_test.npy")


def load(folder: Path, *, seed: int = 0) -> Dataset:
    """The data set. Raises ValueError, in one line, where a file will not do."""
    (x, y), test = (_part(folder / name) for name in FILES)
    kept = len(x) - len(test[0])
    if kept < 1:
        raise ValueError(
            f"`path` {FILES[0]} must have more series than the {len(test[0])} of test."
        )
    return from_arrays(
        x[:kept],
        y[:kept],
        name=TASK.name,
        num_classes=TASK.num_classes,
        dims=1,
        validation=(x[kept:], y[kept:]),
        test=test,
    )


def _part(file: Path) -> tuple[np.ndarray, np.ndarray]:
    held = read_npy(file)
    held = checked_dict(held[0] if isinstance(held, list) else held, file.name, ["data", "label"])
    x = checked_array(held["data"], file.name, (None, TASK.input_shape[0])).astype(np.float32)
    y = checked_array(held["label"], file.name, (len(x),))
    x -= x.mean(1, keepdims=True)
    deviation = x.std(1, keepdims=True)
    x /= np.where(deviation > 0, deviation, np.float32(1))
    return x, check_labels(y.astype(np.int64) - 1, TASK.num_classes, file.name)
