"""Darcy Flow (Li et al., ICLR 2021): from the permeability of a square, 85x85, to the pressure of a
fluid in it, relative L2 error.

`piececonst_r421_N1024_smooth1.mat` and `..._smooth2.mat`, each with `coeff` and `sol` of 421x421,
of which every fifth pixel is taken. The first 900 of the first file are for training, the next 100
for validation, the first 100 of the second for test. Beside the permeability a pixel has its two
coordinates in 0..1, as the benchmark's networks are given. Of a file one array at a time is in
memory whole, 1.5 GB at most; what is kept takes 0.1 GB.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from nasgen.data.matlab import read_mat
from nasgen.data.npy import checked_array
from nasgen.data.task import Dataset, Split, standardised
from nasgen.types import Task

SIDE, STEP = 85, 5  # pixels, and of how many of the file's each way one is taken
TRAIN, VALIDATION, TEST = 900, 100, 100
KIND = "dense_regression"
TASK = Task("darcy_flow", (SIDE, SIDE, 3), 1, KIND, "relative_l2", "mean_squared_error")
FOLDER = "darcyflow"
FILES = tuple(f"piececonst_r421_N1024_smooth{number}.mat" for number in (1, 2))


def load(folder: Path, *, seed: int = 0) -> Dataset:
    """The data set. Raises ValueError, in one line, where a file will not do."""
    first, second = (folder / name for name in FILES)
    x, y = _part(first, TRAIN + VALIDATION)
    test = _part(second, TEST)
    return standardised(
        TASK, Split(x[:TRAIN], y[:TRAIN]), Split(x[TRAIN:], y[TRAIN:]), Split(*test)
    )


def _part(file: Path, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Permeabilities with coordinates, and pressures, both `[num, 85, 85, channels]`."""
    arrays = []
    for name in ("coeff", "sol"):
        array = read_mat(file, name, first=num, step=STEP)
        array = checked_array(array, f"{file.name}: {name}", (num, SIDE, SIDE))
        if not np.isfinite(array).all():
            raise ValueError(f"`path` {file.name} must have finite numbers; {name!r} has not.")
        arrays.append(array.astype(np.float32)[..., None])
    return np.concatenate([arrays[0], _coordinates(num)], -1), arrays[1]


def _coordinates(num: int) -> Float[np.ndarray, "num height width 2"]:
    along = np.linspace(0, 1, SIDE, dtype=np.float32)
    grid = np.stack(np.meshgrid(along, along), -1)
    return np.broadcast_to(grid, (num, *grid.shape))
