"""A task from your own arrays: inputs and targets in memory, or `x` and `y` in an .npz file.

Images are `[examples, height, width, channels]` or `[examples, height, width]`, series (`dims=1`)
`[examples, length, channels]` or `[examples, length]`, uint8 or floating; labels are integers
0..classes-1, and other kinds of targets as in `types.KINDS`. Without a test part 60/20/20 % become
training, validation and test; with one (`x_test`, `y_test`) the rest is split 80/20; with
`x_validation` and `y_validation` too nothing is split. Everything is checked before use, except the
values of `Rows`, which are read only when they are needed.
"""

import difflib
import math
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nasgen.data import targets
from nasgen.data.npy import read_header
from nasgen.data.rows import Rows, take
from nasgen.data.splits import split_of
from nasgen.data.task import (
    Dataset,
    Split,
    check_memory,
    check_objective,
    standardised,
    stratified_indices,
)
from nasgen.types import KINDS, Task

MIN_SIDE, MAX_SIDE = 2, 4096  # pixels
MAX_LENGTH = 2**20  # of a series
LARGE = 128  # pixels: from here on the first convolution has stride 2
ARRAYS = ("x", "y", "x_validation", "y_validation", "x_test", "y_test")  # of an .npz file

Pair = tuple[np.ndarray | Rows, np.ndarray]  # inputs and their targets


def from_arrays(
    x: np.ndarray | Rows,
    y: np.ndarray,
    *,
    name: str = "arrays",
    seed: int = 0,
    num_classes: int | None = None,
    kind: str | None = None,
    metric: str | None = None,
    dims: int = 2,
    validation: Pair | None = None,
    test: Pair | None = None,
    class_names: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    white: float | None = None,
) -> Dataset:
    """A data set from inputs and targets; `num_classes` is by default the highest label plus one.

    kind: one of `types.KINDS`; by default told by `y`, see `targets.kind_of`. metric: one of
    `types.METRICS` for the kind, by default the kind's own. dims: 2 for images, 1 for series.
    validation: needs `test` too. white: as in `Dataset`; by default told by `x`. Raises
    ValueError, saying which argument breaks which rule.
    """
    if dims not in (1, 2):
        raise ValueError(f"`dims` must be 1 (series) or 2 (images); got {dims}.")
    if validation is not None and test is None:
        raise ValueError("`validation` must come with `test`; got `validation` alone.")
    if white is None and not isinstance(x, Rows):
        white = _white(np.asarray(x))
    x, y = _inputs(x, "x", dims), np.asarray(y)
    white = white if dims == 2 and x.shape[3] in (1, 3) else None
    kind = targets.kind_of(y, x) if kind is None else kind
    y = targets.checked(y, x, kind=kind, name="y")
    num_classes = targets.num_outputs(
        y, kind=kind, num_classes=num_classes, class_names=class_names
    )
    large = dims == 2 and min(x.shape[1:3]) >= LARGE
    task = Task(
        name,
        tuple(x.shape[1:]),
        num_classes,
        kind,
        KINDS[kind].metric if metric is None else metric,
        KINDS[kind].loss,
        stem_stride=2 if large else 1,
        class_names=class_names,
    )
    check_objective(task)
    strata = y if kind == "classification" else np.zeros(len(y), np.int32)
    if test is None:
        chosen = stratified_indices(strata, seed=seed)
        parts = (Split(take(x, part), y[part]) for part in chosen)
        return standardised(task, *parts, notes=notes, white=white)
    held_out = _held_out(test, "test", task)
    if validation is not None:
        parts = Split(x, y), _held_out(validation, "validation", task), held_out
        return standardised(task, *parts, notes=notes, white=white)
    chosen = stratified_indices(strata, seed=seed, fractions=(0.8, 0.2))
    train, validation = (Split(take(x, part), y[part]) for part in chosen)
    return standardised(task, train, validation, held_out, notes=notes, white=white)


def from_npz(
    path: str | os.PathLike,
    *,
    seed: int = 0,
    num_classes: int | None = None,
    kind: str | None = None,
    metric: str | None = None,
    dims: int = 2,
) -> Dataset:
    """A data set from an .npz file with `x` and `y`, and `x_test` and `y_test` if there are any.

    Arrays of other names are not read, and said. The task takes the file's name. Raises ValueError,
    in one line, where the file will not do.
    """
    path = Path(path)
    arrays = read_npz(path, ARRAYS)
    with np.load(path, allow_pickle=False) as stored:
        notes = _unread_notes([name for name in stored.files if name not in arrays])
    missing = [key for key in ("x", "y") if key not in arrays]
    if missing:
        raise ValueError(
            f"`path` must hold the arrays 'x' and 'y'; {str(path)!r} has {sorted(arrays)}."
            + "".join(f" {note}" for note in notes)
        )
    held_out = {}
    for part in ("validation", "test"):
        pair = f"x_{part}", f"y_{part}"
        if (pair[0] in arrays) != (pair[1] in arrays):
            raise ValueError(
                f"`path` must hold both {pair[0]!r} and {pair[1]!r} or neither; "
                f"{str(path)!r} has {sorted(arrays)}." + "".join(f" {note}" for note in notes)
            )
        held_out[part] = tuple(arrays[key] for key in pair) if pair[0] in arrays else None
    options = dict(name=path.stem, seed=seed, num_classes=num_classes, dims=dims)
    options |= dict(kind=kind, metric=metric, notes=notes)
    return from_arrays(arrays["x"], arrays["y"], **options, **held_out)


def _unread_notes(names: list[str]) -> tuple[str, ...]:
    """What to say of arrays in a file that are not read; of some it is guessed what they mean."""
    if not names:
        return ()
    said = []
    for name in names[:4]:
        words = [split_of(word) or word for word in name.lower().split("_")]
        words = sorted((one for one in words if one != "train"), key=lambda one: len(one) > 1)
        near = difflib.get_close_matches("_".join(words), ARRAYS, n=1, cutoff=0.8)
        said.append(f"{name!r} (is {near[0]!r} meant?)" if near else repr(name))
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return (f"Arrays of other names were not read: {', '.join(said)}{more}.",)


def read_npz(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Those of the arrays that the file has. Headers are compared with the file before their
    promises are believed; nothing is unpickled. Raises ValueError, in one line, for another file.
    """
    if not path.is_file():
        raise ValueError(f"`path` must be an .npz file; got {str(path)!r}, which is not a file.")
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no archive of arrays")
        with np.load(path, allow_pickle=False) as stored:
            names = [name for name in names if name in stored.files]
            for name in names:
                _check_header(stored.zip, name)
            return {name: stored[name] for name in names}
    except (
        *(ValueError, OSError, EOFError, NotImplementedError, RuntimeError, MemoryError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ValueError(
            f"`path` must be an .npz file of plain arrays; got {str(path)!r} ({reason})."
        ) from error


def _check_header(archive: zipfile.ZipFile, name: str) -> None:
    members = archive.namelist()
    member = f"{name}.npy" if f"{name}.npy" in members else name
    with archive.open(member) as file:
        shape, dtype = read_header(file, repr(name))
    promised, held = math.prod(shape) * dtype.itemsize, archive.getinfo(member).file_size
    if not dtype.hasobject and promised > held:  # NumPy itself refuses objects
        raise ValueError(f"{name!r} of shape {shape} takes {promised} bytes; the file has {held}")
    check_memory(shape, name, "a smaller array will do")


def _held_out(pair: Pair, part: str, task: Task) -> Split:
    """A validation or test part, checked against the task."""
    dims = len(task.input_shape) - 1
    x = _inputs(pair[0], f"x_{part}", dims)
    y = targets.checked(np.asarray(pair[1]), x, kind=task.kind, name=f"y_{part}")
    if x.shape[1:] != task.input_shape:
        raise ValueError(
            f"`x_{part}` must have {_WORDS[dims]} of {task.input_shape}, like `x`; "
            f"got {x.shape[1:]}."
        )
    if KINDS[task.kind].targets == "int32":
        targets.check_highest(y, task.num_classes, f"y_{part}")
    elif y.shape[-1] != task.num_classes:
        raise ValueError(
            f"`y_{part}` must have {task.num_classes} columns, like `y`; got {y.shape[-1]}."
        )
    return Split(x, y)


def _white(x: np.ndarray) -> float | None:
    """What the white of picture files is in such arrays: bytes and numbers in 0..1 tell."""
    if x.dtype == np.uint8:
        return 255.0
    within = np.issubdtype(x.dtype, np.floating) and x.size and 0 <= x.min() and x.max() <= 1
    return 1.0 if within else None


_WORDS = {1: "series", 2: "images"}
_AXES = {1: "length", 2: "height, width"}


def _inputs(x: np.ndarray | Rows, name: str, dims: int) -> np.ndarray | Rows:
    """The images or series as float32 with a last axis of channels, checked; of `Rows` the form."""
    if isinstance(x, Rows):
        _check_form(x.shape, x.shape, name, dims)
        return x
    x = np.asarray(x)
    if x.dtype != np.uint8 and not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"`{name}` must be uint8 or floating; got {x.dtype}.")
    given = x.shape
    if x.ndim == dims + 1:
        x = x[..., None]
    _check_form(x.shape, given, name, dims)
    with np.errstate(over="ignore"):  # what float32 cannot hold is as bad as an infinity
        x = x.astype(np.float32, copy=False)
    broken = np.flatnonzero(~np.isfinite(x).all(tuple(range(1, x.ndim))))
    if len(broken):
        raise ValueError(
            f"`{name}` must be finite; {len(broken)} {_WORDS[dims]} are not, "
            f"the first is {broken[0]}."
        )
    return x


def _check_form(shape: tuple[int, ...], given: tuple[int, ...], name: str, dims: int) -> None:
    """given: the shape to tell the user."""
    if len(shape) != dims + 2 or 0 in shape:
        other = f"; for {_WORDS[3 - dims]} set `dims` to {3 - dims}"
        raise ValueError(
            f"`{name}` must be [examples, {_AXES[dims]}(, channels)], none of them 0; "
            f"got shape {given}{other if len(given) in (5 - dims, 4 - dims) else ''}."
        )
    sides, most = shape[1:-1], MAX_SIDE if dims == 2 else MAX_LENGTH
    if not (MIN_SIDE <= min(sides) and max(sides) <= most):
        what = f"sides of {MIN_SIDE}..{most} pixels" if dims == 2 else f"lengths of 2..{most}"
        raise ValueError(f"`{name}` must have {what}; got {sides if dims == 2 else sides[0]}.")
