"""DeepSEA (Zhou and Troyanskaya 2015): 1,000 bases of DNA, one of four letters each, and which of
36 features of chromatin they have, 1 - AUROC.

`deepsea_filtered.npz` with `x_PART` `[examples, 1000, 4]` of 0 and 1 and `y_PART` `[examples, 36]`
for the parts train, val and test (71,753, 2,490 and 149,400), which are kept. The letters stay in
memory as bytes, 0.9 GB, of which one array at a time is read, and become float32 (four times as
much) a batch at a time.
"""

from pathlib import Path

import numpy as np

from nasgen.data.arrays import read_npz
from nasgen.data.npy import checked_array
from nasgen.data.rows import rows_of
from nasgen.data.targets import checked
from nasgen.data.task import Dataset, Split, standardised
from nasgen.types import Task

KIND = "multi_label"
TASK = Task("deepsea", (1000, 4), 36, KIND, metric="auroc", loss="binary_cross_entropy")
FOLDER = "deepsea"
FILES = ("deepsea_filtered.npz",)
PARTS = ("train", "val", "test")


def load(folder: Path, *, seed: int = 0) -> Dataset:
    """The data set. Raises ValueError, in one line, where the file will not do."""
    return standardised(TASK, *(_part(folder / FILES[0], part) for part in PARTS))


def _part(file: Path, part: str) -> Split:
    names = f"x_{part}", f"y_{part}"
    x, y = (_bits(read_npz(file, (name,)), name) for name in names)
    checked_array(x, names[0], (None, *TASK.input_shape), kinds="u")
    checked_array(y, names[1], (len(x), TASK.num_classes), kinds="u")
    return Split(rows_of(x), checked(y, x, kind=KIND, name=names[1]))


def _bits(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """The array as bytes of 0 and 1."""
    if name not in arrays:
        raise ValueError(f"`path` {FILES[0]} must hold the array {name!r}; it has none.")
    array = arrays[name]
    bits = array.astype(np.uint8, copy=False) if array.dtype.kind in "biuf" else array
    if array.dtype.kind not in "biuf" or bits.max() > 1 or not _equal(array, bits):
        raise ValueError(f"`path` {FILES[0]} must have 0 and 1 alone in {name!r}.")
    return bits


def _equal(array: np.ndarray, bits: np.ndarray) -> bool:
    return array.dtype.itemsize == 1 or all(
        np.array_equal(array[start : start + 4096], bits[start : start + 4096])
        for start in range(0, len(bits), 4096)
    )
