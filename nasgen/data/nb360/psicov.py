"""PSICOV (Adhikari 2020; Jones et al. 2012): how far apart the residues of a protein are, in
angstrom, from 57 features of each pair of them, mean absolute error of those within 8 angstrom.

`protein.zip` unpacked: `deepcov.lst` and `psicov.lst`, a name a line, and for each name of SET
`SET/features/NAME.pkl`, a pickled dict, and `SET/distance/NAME-cb.npy`. Of the 3,456 proteins of
DeepCov the first 100 are for validation, the rest for training; the 150 of PSICOV are for test. A
protein has a border of 5 without features, and distances are 16 angstrom at most, as they are on
the border and where a map is filled up. For training a protein is cropped, where `seed` says, or
padded to 128x128. For validation and test it is cut into windows of 128 residues, one each 64;
pairs that two windows show are 16 in the second, which is too far to be measured. In memory are
the distances (0.3 GB); a batch reads the features of its proteins, which as float32 would take 14
GB.

The benchmark gives its networks 512x512 for test, so it also measures those pairs of long proteins
that are more than 64 residues apart and in no window here.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nasgen.data.nb360.files import checked_dict
from nasgen.data.npy import checked_array
from nasgen.data.pickles import read_npy, read_pickle
from nasgen.data.rows import one_by_one
from nasgen.data.task import Dataset, Split, standardised
from nasgen.types import Task

SIDE, BORDER = 128, 5  # residues
FAR = 16.0  # angstrom: no distance is more
STRIDE = SIDE // 2  # residues between windows
ROWS = {"ss": 3, "pssm": 22, "sa": 1, "entropy": 1}  # features of a residue
PAIRS = ("ccmpred", "freecon", "potential")  # features of a pair
CHANNELS = 2 * sum(ROWS.values()) + len(PAIRS)
TASK = Task(
    "psicov",
    (SIDE, SIDE, CHANNELS),
    1,
    "dense_regression",
    "mean_absolute_error_8",
    "mean_squared_error",
)
FOLDER = "psicov"
LISTS = ("deepcov.lst", "psicov.lst")
FILES = (
    *LISTS,
    *(f"{name}/{what}" for name in ("deepcov", "psicov") for what in ("features", "distance")),
)
VALIDATION = 100  # proteins of DeepCov, the first ones
NOTE = "Of long proteins pairs more than 64 residues apart are not all measured."


class _Window(NamedTuple):
    """What an example shows of a protein: from `top` and `left`, its border counted."""

    protein: str
    top: int
    left: int


def load(folder: Path, *, seed: int = 0) -> Dataset:
    """The data set. Raises ValueError, in one line, where a file will not do."""
    deepcov, psicov = (_names(folder / name) for name in LISTS)
    if len(deepcov) <= VALIDATION:
        raise ValueError(f"`path` {LISTS[0]} must name more than {VALIDATION} proteins.")
    rng = np.random.default_rng(seed)
    parts = [
        _part(folder / "deepcov", deepcov[VALIDATION:], rng),
        _part(folder / "deepcov", deepcov[:VALIDATION], None),
        _part(folder / "psicov", psicov, None),
    ]
    return standardised(TASK, *parts, notes=(NOTE,))


def _names(file: Path) -> list[str]:
    names = [line.split()[0] for line in file.read_text("utf-8").splitlines() if line.strip()]
    odd = [name for name in names if Path(name).name != name or name.startswith(".")]
    if odd or not names:
        raise ValueError(f"`path` {file.name} must have a name a line; got {odd[:1] or 'none'}.")
    return names


def _part(folder: Path, names: list[str], rng: np.random.Generator | None) -> Split:
    """rng: draws one window a protein; without it the windows on the diagonal are taken."""
    windows, targets = [], []
    for name in names:
        distances = _distances(folder / "distance" / f"{name}-cb.npy")
        whole = np.pad(distances, BORDER, constant_values=FAR)
        for top, left in _corners(len(whole), rng):
            windows.append(_Window(name, top, left))
            targets.append(_cut(whole, top, left, FAR))
            if rng is None and top:
                targets[-1][:STRIDE, :STRIDE] = FAR  # the window before shows them

    def read(index: int) -> Float[np.ndarray, "height width channels"]:
        window = windows[index]
        features = np.pad(_features(folder / "features" / f"{window.protein}.pkl"), _SIDES)
        return _cut(features, window.top, window.left, 0)

    return Split(one_by_one(read, (len(windows), *TASK.input_shape)), np.stack(targets)[..., None])


_SIDES = ((BORDER, BORDER), (BORDER, BORDER), (0, 0))


def _corners(length: int, rng: np.random.Generator | None) -> list[tuple[int, int]]:
    if rng is None:
        return [(start, start) for start in range(0, max(length - STRIDE, 1), STRIDE)]
    top, left = rng.integers(0, max(length - SIDE, 0) + 1, 2)
    return [(int(top), int(left))]


def _cut(array: np.ndarray, top: int, left: int, padding: float) -> np.ndarray:
    """`SIDE` by `SIDE` from there on, padded where the array ends."""
    part = array[top : top + SIDE, left : left + SIDE]
    lacking = [(0, SIDE - side) for side in part.shape[:2]]
    return np.pad(part, lacking + [(0, 0)] * (part.ndim - 2), constant_values=padding)


def _distances(file: Path) -> Float[np.ndarray, "length length"]:
    """Distances in 1..16; of a residue to itself, the mean of those to its neighbours."""
    held = read_npy(file)  # length, sequence, distances
    if not isinstance(held, list) or len(held) != 3 or not isinstance(held[0], int):
        raise ValueError(f"`path` {file.name} must have a length, a sequence and distances.")
    distances = checked_array(held[2], file.name, (held[0], held[0]), kinds="f")
    if held[0] < 2 or not np.isfinite(distances).all():
        raise ValueError(f"`path` {file.name} must have finite distances of two residues or more.")
    distances = np.clip(distances, 1, None).astype(np.float32)
    before, after = distances.diagonal(-1), distances.diagonal(1)  # of 1.. and of ..length - 2
    before, after = np.append(after[0], before), np.append(after, before[-1])
    np.fill_diagonal(distances, (before + after) / 2)
    return np.minimum(distances, FAR)


def _features(file: Path) -> Float[np.ndarray, "length length channels"]:
    """Of a pair: each feature of the second residue and of the first, then those of the pair."""
    if not file.is_file():
        raise ValueError(f"`path` must have {file}; it has none.")
    with file.open("rb") as opened:
        held = checked_dict(read_pickle(opened, file.name), file.name, ["seq", *ROWS, *PAIRS])
    length, rows = len(held["seq"]), []
    for name, num in ROWS.items():
        shapes = {"ss": (num, length), "pssm": (length, num)}
        array = checked_array(held[name], f"{file.name}: {name}", shapes.get(name, (length,)))
        rows.append(np.atleast_2d(array.T if name == "pssm" else array))
    features = np.empty((length, length, CHANNELS), np.float32)
    residues = np.concatenate(rows).T  # [length, features]
    features[..., 0 : CHANNELS - len(PAIRS) : 2] = residues[None]
    features[..., 1 : CHANNELS - len(PAIRS) : 2] = residues[:, None]
    for channel, name in enumerate(PAIRS, CHANNELS - len(PAIRS)):
        features[..., channel] = checked_array(held[name], f"{file.name}: {name}", (length, length))
    return np.nan_to_num(features, copy=False, nan=0.0)
