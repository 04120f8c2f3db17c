"""ECG (PhysioNet Challenge 2017, Clifford et al.): windows of 1,000 moments of a heart's
electricity in four classes (normal, atrial fibrillation, other rhythm, noise), 1 - F1, the mean
over classes.

`challenge2017.pkl`, a pickled dict of `data`, a recording each, and `label`. Recordings, not
windows, are split 80/10/10 with the benchmark's own draw, and each is brought to mean 0 and
deviation 1. Windows start every 500 moments, and more often where a class is rare, as in Hong et
al. (2017): some 260,000, 33,000 and 33,000. Recordings are held once (0.3 GB); a batch cuts its
windows.

The benchmark lets the windows of a recording vote before it takes F1; here each window counts.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from nasgen.data.nb360.files import checked_dict
from nasgen.data.pickles import read_pickle
from nasgen.data.rows import Rows, one_by_one
from nasgen.data.task import Dataset, Split, standardised
from nasgen.types import Task

LETTERS = "NAO~"  # the classes
NAMES = ("normal", "atrial fibrillation", "other", "noise")
WINDOW = 1000  # moments, at 300 a second
STRIDES = (500, 83, 250, 25)  # of each class
TASK = Task("ecg", (WINDOW, 1), len(LETTERS), metric="macro_f1", class_names=NAMES)
FOLDER = "ecg"
FILES = ("challenge2017.pkl",)
NOTE = "F1 is over windows; the benchmark lets the windows of a recording vote first."


def load(folder: Path, *, seed: int = 0) -> Dataset:
    """The data set. Raises ValueError, in one line, where the file will not do."""
    from sklearn.model_selection import train_test_split

    with (folder / FILES[0]).open("rb") as file:
        held = checked_dict(read_pickle(file, FILES[0]), FILES[0], ["data", "label"])
    recordings, labels = _recordings(held["data"]), _labels(held["label"])
    if len(recordings) != len(labels):
        raise ValueError(
            f"`path` {FILES[0]} must have a label a recording; got {len(labels)} for "
            f"{len(recordings)}."
        )
    numbers = np.arange(len(labels))  # the benchmark's split, by its random state
    train, rest = train_test_split(numbers, test_size=0.2, random_state=0)
    validation, test = train_test_split(rest, test_size=0.5, random_state=0)
    parts = [_windows(recordings, labels, part) for part in (train, validation, test)]
    return standardised(TASK, *parts, notes=(NOTE,))


def _recordings(data: object) -> list[np.ndarray]:
    """Each of them float32, standardised."""
    plain = isinstance(data, list | np.ndarray) and len(data)
    if not plain or any(not isinstance(one, np.ndarray) or one.ndim != 1 for one in data):
        raise ValueError(f"`path` {FILES[0]} must have a series of numbers for each recording.")
    found = []
    for number, one in enumerate(data):
        if one.dtype.kind not in "iuf" or not np.isfinite(one).all():
            raise ValueError(f"`path` {FILES[0]} must have finite numbers; not in {number}.")
        one = one.astype(np.float64)
        found.append(((one - one.mean()) / (one.std() or 1.0)).astype(np.float32))
    return found


def _labels(letters: Sequence[str]) -> Int[np.ndarray, " recordings"]:
    known = {letter: number for number, letter in enumerate(LETTERS)}
    odd = [one for one in letters if one not in known]
    if odd:
        raise ValueError(
            f"`path` {FILES[0]} must have the labels {', '.join(LETTERS)}; got {odd[0]!r}."
        )
    return np.array([known[one] for one in letters], np.int32)


def _windows(recordings: list[np.ndarray], labels: np.ndarray, chosen: np.ndarray) -> Split:
    """The windows of the chosen recordings, which are cut when they are asked for."""
    places = [
        (number, start)
        for number in chosen
        for start in range(0, len(recordings[number]) - WINDOW, STRIDES[labels[number]])
    ]
    if not places:
        raise ValueError(f"`path` {FILES[0]} must have recordings of more than {WINDOW} moments.")

    def window(index: int) -> np.ndarray:
        number, start = places[index]
        return recordings[number][start : start + WINDOW, None]

    x: Rows = one_by_one(window, (len(places), *TASK.input_shape))
    return Split(x, labels[[number for number, _ in places]])
