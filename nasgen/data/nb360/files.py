"""The official files of NAS-Bench-360: where they lie, and what they must hold."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nasgen.data.folder import VARIABLE, beside_repository
from nasgen.data.npy import checked_array
from nasgen.data.pickles import read_npy

FOLDER = "nb360"  # of the user's folder of data
PAGE = "nb360.ml.cmu.edu"  # the data sets' own page


def folder_of(name: str, path: str | os.PathLike | None) -> Path:
    """Where the files of a task are looked for: `path/NAME`, or `path` itself where that is none.

    path: by default `nb360` in the user's folder of data."""
    base = Path(path) if path else beside_repository(VARIABLE, "data") / FOLDER
    return base / name if (base / name).is_dir() or path is None else base


def check_files(folder: Path, files: Sequence[str], dataset: str) -> None:
    """Raises ValueError, with the folder that was looked at and where the data set is to be had,
    where one of the files or folders is missing. Alternatives are parted by a bar."""
    for choices in files:
        if not any((folder / one).exists() for one in choices.split("|")):
            raise ValueError(
                f"`dataset` {dataset} needs {choices.replace('|', ' or ')}; looked at {folder}, "
                f"which has none. The data set is on {PAGE}; set `path` or {VARIABLE} to where "
                "it is."
            )


def read_array(file: Path, shape: tuple[int | None, ...], *, kinds: str = "iuf") -> np.ndarray:
    """The array in an .npy file, of that shape (None: any length) and of numbers."""
    return checked_array(read_npy(file), file.name, shape, kinds=kinds)


def checked_dict(held: object, name: str, keys: Sequence[str]) -> dict:
    """The dict itself. Raises ValueError where it is none, or lacks a key."""
    lacking = [key for key in keys if not isinstance(held, dict) or key not in held]
    if lacking:
        has = sorted(map(str, held)) if isinstance(held, dict) else type(held).__name__
        raise ValueError(f"`path` {name} must have {', '.join(keys)}; got {has}.")
    return held


def check_labels(y: np.ndarray, num_classes: int, name: str) -> np.ndarray:
    """Classes as int32. Raises ValueError where one is not in 0..num_classes - 1."""
    if y.dtype.kind not in "iu" and (y != np.round(y)).any():
        raise ValueError(f"`path` {name} must have whole numbers as labels; got {y.dtype}.")
    if y.min() < 0 or y.max() >= num_classes:
        worst = y.min() if y.min() < 0 else y.max()
        raise ValueError(f"`path` {name} must have labels in 0..{num_classes - 1}; got {worst}.")
    return y.astype(np.int32)
