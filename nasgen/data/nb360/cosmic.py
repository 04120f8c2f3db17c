"""Cosmic (Zhang and Bloom 2020): which pixels of a telescope's image, 128x128, were hit by cosmic
rays, 1 - AUROC.

`npy_train/` and `npy_test/`, unpacked from the official archives: `FILTER/PROPOSAL/VISIT/*.npy`,
each the planes image, mask and, where there is one, what to ignore, of 256x256 pixels. As in the
benchmark only galaxies through the filter F435W are taken, and of each image the middle. The last
tenth of the training files, in the order of their names, is the validation part (4,347, 483 and
420). Pixels to ignore count as not hit. The benchmark adds random brightness of the sky to images;
here none is. They take 0.7 GB.
"""

from pathlib import Path

import numpy as np

from nasgen.data.nb360.files import read_array
from nasgen.data.task import Dataset, Split, standardised
from nasgen.types import Task

SIDE = 128  # pixels
TASK = Task(
    "cosmic", (SIDE, SIDE, 1), 2, "segmentation", metric="auroc", class_names=("sky", "ray")
)
FOLDER = "cosmic"
FILES = ("npy_train", "npy_test")
FILTER = "f435w"
VALIDATION = 0.1  # of the training files, the last ones
# Proposals and visits that looked at galaxies; the others saw clusters of stars or empty fields.
GALAXIES = frozenset(
    "10760_2 10760_4 13737_2 13737_3 9490_a3 12513_2 12513_3 10182_pb 10182_pd 10584_13 10342_3 "
    "14343_1 13057_1 10260_7 10260_5 10407_3 13364_95 10190_28 10190_13 9490_a2 13691_11 12058_12 "
    "12058_16 12058_1 12602_1 12602_2 12058_6 14704_1 13804_6".split()
)
NOTE = "The sky is as it was seen; the benchmark adds random brightness to it."


def load(folder: Path, *, seed: int = 0) -> Dataset:
    """The data set. Raises ValueError, in one line, where a file will not do."""
    (x, y), test = (_part(folder / name) for name in FILES)
    kept = int(len(x) * (1 - VALIDATION))
    if not 1 <= kept < len(x):
        raise ValueError(f"`path` {FILES[0]} must have two images or more; got {len(x)}.")
    parts = Split(x[:kept], y[:kept]), Split(x[kept:], y[kept:]), Split(*test)
    return standardised(TASK, *parts, notes=(NOTE,))


def _part(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images `[files, 128, 128, 1]` and the class of each pixel."""
    files = sorted(
        file
        for file in (folder / FILTER).glob("*/*/*.npy")
        if file.name != "sky.npy" and f"{file.parts[-3]}_{file.parts[-2]}" in GALAXIES
    )
    if not files:
        raise ValueError(f"`path` {folder} must have images of galaxies in {FILTER}; it has none.")
    x = np.empty((len(files), *TASK.input_shape), np.float32)
    y = np.empty((len(files), SIDE, SIDE), np.uint8)
    for number, file in enumerate(files):
        x[number, ..., 0], y[number] = _planes(file)
    return x, y


def _planes(file: Path) -> tuple[np.ndarray, np.ndarray]:
    planes = read_array(file, (None, None, None), kinds="biuf")
    num, height, width = planes.shape
    if num not in (2, 3) or min(height, width) < SIDE:
        raise ValueError(
            f"`path` {file.name} must have 2 or 3 planes of at least {SIDE}x{SIDE}; "
            f"got {planes.shape}."
        )
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    planes = planes[:, top : top + SIDE, left : left + SIDE]
    if not np.isfinite(planes[0]).all():
        raise ValueError(f"`path` {file.name} must have finite pixels; it has others.")
    hit = planes[1] > 0
    return planes[0], hit & (planes[2] == 0) if num == 3 else hit
