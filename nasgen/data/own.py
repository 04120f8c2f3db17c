"""A task from data of your own, whose kind is told by its path.

photos/     images, a folder for each class     -> image_folder
x.npz       arrays                              -> arrays
x.csv       time series; so is x.parquet        -> series
"""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nasgen.data.arrays import from_npz
from nasgen.data.image_folder import from_image_folder, split_folders
from nasgen.data.series import NEEDS_PYARROW, from_series
from nasgen.data.task import Dataset

# a file's ending -> load(path, *, seed, ...) -> Dataset
FILES = {".npz": from_npz, ".csv": from_series, ".parquet": from_series}


def from_own(path: str | os.PathLike, *, seed: int = 0, **options: Any) -> Dataset:
    """The data set at a path, by the loader that is for it. Raises ValueError as that does."""
    return loader_of(path)(path, seed=seed, **options)


def loader_of(path: str | os.PathLike) -> Callable[..., Dataset]:
    """What loads the data at a path. Raises ValueError, without reading any data, where nothing
    does: no such path, an unknown ending, a folder without class folders, pyarrow missing."""
    path = Path(path)
    if path.is_dir():
        split_folders(path.resolve())
        return from_image_folder
    ending = path.suffix.lower()
    if not path.is_file():
        raise ValueError(f"`path` must be an existing file or folder; got {str(path)!r}.")
    if ending not in FILES:
        raise ValueError(
            f"`path` must be a folder of images or end in {', '.join(FILES)}; got {str(path)!r}."
        )
    if ending == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError(NEEDS_PYARROW.format(path.name))
    return FILES[ending]
