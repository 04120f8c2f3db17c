"""A task from your own arrays: images and labels in memory, or `x` and `y` in an .npz file.

Images are `[examples, height, width, channels]` or `[examples, height, width]`, uint8 or floating;
labels are integers 0..classes-1. Without a test part 60/20/20 % become training, validation and
test; with one (`x_test`, `y_test`) the rest is split 80/20. Everything is checked before use.
"""

import os
import zipfile
from pathlib import Path

import numpy as np

from nasgen.data.task import Dataset, Split, standardised, stratified_indices
from nasgen.types import Task

MIN_EXAMPLES = 5  # of each class
MIN_SIDE, MAX_SIDE = 2, 4096


def from_arrays(
    x: np.ndarray,
    y: np.ndarray,
    *,
    name: str = "arrays",
    seed: int = 0,
    num_classes: int | None = None,
    test: tuple[np.ndarray, np.ndarray] | None = None,
) -> Dataset:
    """A data set from images and labels; `num_classes` is by default the highest label plus one.

    Raises ValueError, saying which argument breaks which rule.
    """
    x, y = _images(x, "x"), _labels(y, len(x), "y")
    num_classes = int(y.max()) + 1 if num_classes is None else num_classes
    _check_classes(y, num_classes)
    task = Task(
        name, tuple(x.shape[1:]), num_classes, stem_stride=2 if min(x.shape[1:3]) >= 128 else 1
    )
    if test is None:
        parts = [Split(x[chosen], y[chosen]) for chosen in stratified_indices(y, seed=seed)]
        return standardised(task, *parts)
    x_test = _images(test[0], "x_test")
    y_test = _labels(test[1], len(x_test), "y_test")
    if x_test.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"`x_test` must have images of {x.shape[1:]}, like `x`; got {x_test.shape[1:]}."
        )
    if y_test.max() >= num_classes:
        raise ValueError(f"`y_test` must be in 0..{num_classes - 1}; got {y_test.max()}.")
    chosen = stratified_indices(y, seed=seed, fractions=(0.8, 0.2))
    train, validation = (Split(x[part], y[part]) for part in chosen)
    return standardised(task, train, validation, Split(x_test, y_test))


def from_npz(path: str | os.PathLike, *, seed: int = 0, num_classes: int | None = None) -> Dataset:
    """A data set from an .npz file with `x` and `y`, and `x_test` and `y_test` if there are any.

    The task takes the file's name. Raises ValueError, in one line, where the file will not do.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"`path` must be an .npz file; got {str(path)!r}, which is not a file.")
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            raise ValueError("it holds a single array")
        with stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ValueError(
            f"`path` must be an .npz file of plain arrays; got {str(path)!r} ({reason})."
        ) from error
    missing = [key for key in ("x", "y") if key not in arrays]
    if missing:
        raise ValueError(
            f"`path` must hold the arrays 'x' and 'y'; {str(path)!r} has {sorted(arrays)}."
        )
    if ("x_test" in arrays) != ("y_test" in arrays):
        raise ValueError(
            f"`path` must hold both 'x_test' and 'y_test' or neither; "
            f"{str(path)!r} has {sorted(arrays)}."
        )
    test = (arrays["x_test"], arrays["y_test"]) if "x_test" in arrays else None
    return from_arrays(
        arrays["x"], arrays["y"], name=path.stem, seed=seed, num_classes=num_classes, test=test
    )


def _images(x: np.ndarray, name: str) -> np.ndarray:
    """The images as float32 `[examples, height, width, channels]`, checked."""
    x = np.asarray(x)
    if x.dtype != np.uint8 and not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"`{name}` must be uint8 or floating; got {x.dtype}.")
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(
            f"`{name}` must be [examples, height, width(, channels)], none of them 0; "
            f"got shape {x.shape}."
        )
    if not (MIN_SIDE <= min(x.shape[1:3]) and max(x.shape[1:3]) <= MAX_SIDE):
        raise ValueError(
            f"`{name}` must have sides of {MIN_SIDE}..{MAX_SIDE} pixels; got {x.shape[1:3]}."
        )
    x = x.astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(x).all((1, 2, 3)))
    if len(broken):
        raise ValueError(
            f"`{name}` must be finite; {len(broken)} images are not, the first is {broken[0]}."
        )
    return x


def _labels(y: np.ndarray, examples: int, name: str) -> np.ndarray:
    """The labels as int32 `[examples]`, checked but for their upper bound."""
    y = np.asarray(y)
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"`{name}` must be integers; got {y.dtype}.")
    if y.shape != (examples,):
        raise ValueError(
            f"`{name}` must have shape ({examples},), a label an image; got {y.shape}."
        )
    if y.min() < 0:
        raise ValueError(f"`{name}` must be 0 or more; got {y.min()}.")
    if y.max() > np.iinfo(np.int32).max - 1:
        raise ValueError(f"`{name}` must fit in 32 bits; got {y.max()}.")
    return y.astype(np.int32)


def _check_classes(y: np.ndarray, num_classes: int) -> None:
    if y.max() >= num_classes:
        raise ValueError(f"`y` must be in 0..{num_classes - 1}; got {y.max()}.")
    if num_classes < 2:
        raise ValueError("`y` must have two classes or more; got one.")
    if num_classes > len(y):
        raise ValueError(
            f"`y` must be 0..classes-1, each with {MIN_EXAMPLES} examples; "
            f"got {len(y)} examples for {num_classes} classes."
        )
    counts = np.bincount(y, minlength=num_classes)
    if counts.min() < MIN_EXAMPLES:
        raise ValueError(
            f"`y` must have {MIN_EXAMPLES} examples or more of each class 0..{num_classes - 1}; "
            f"got {counts.min()} of class {counts.argmin()}."
        )
