"""What examples are labelled with: the kind of prediction told by type and shape, and its checks.

Shapes are those of `types.KINDS`. Whatever breaks a rule is a ValueError of one line that names the
argument.
"""

import re
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int, Num, Shaped

from nasgen.data.rows import Rows
from nasgen.types import KINDS

MIN_EXAMPLES = 5  # of each class
_LARGEST = np.iinfo(np.int32).max - 1
_NUMBERS = "for numbers to predict set `kind` to 'regression', --config.task.kind=regression"

Inputs = Num[np.ndarray | Rows, "examples *places channels"]
Targets = Num[np.ndarray, "examples *target"]


def kind_of(y: Shaped[np.ndarray, "..."], x: Inputs) -> str:
    """The kind of prediction that targets `y` of images or series `x` are for.

    A number for each pixel or moment is dense; numbers with fractions are a regression, rows of 0
    and 1 are several labels; everything else, and rows of which each has a single 1, is meant as a
    class.
    """
    floating = np.issubdtype(y.dtype, np.floating)
    if y.shape[: x.ndim - 1] == x.shape[:-1]:
        return "dense_regression" if floating else "segmentation"
    if floating and y.ndim in (1, 2):
        finite = y[np.isfinite(y)]
        return "regression" if (finite != np.round(finite)).any() else "classification"
    zero_or_one = y.ndim == 2 and y.dtype.kind in "iub" and bool(np.isin(y, (0, 1)).all())
    if zero_or_one and (y.sum(1) != 1).any():
        return "multi_label"
    return "classification"


def checked(y: Shaped[np.ndarray, "..."], x: Inputs, *, kind: str, name: str) -> Targets:
    """The targets in the type and shape of their kind. Raises ValueError where they are not of it,
    except for classes that are too high: that only the training examples tell."""
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}; got {kind!r}.")
    if y.dtype.kind not in "iufb":
        raise ValueError(
            f"`{name}` must be numbers; got {y.dtype} (number the classes from 0; their names can "
            "be labels in a table, or folders of images)."
        )
    return _CHECKS[kind](y, x, name)


def num_outputs(
    y: Targets, *, kind: str, num_classes: int | None, class_names: tuple[str, ...] = ()
) -> int:
    """The classes, or the outputs, of a task with these training targets.

    num_classes: by default what the targets show. Raises ValueError where a class has too few
    examples, a target is beyond `num_classes`, nothing is to be told apart, or names are not as
    many as the classes.
    """
    if kind in ("classification", "segmentation"):
        num = int(y.max()) + 1 if num_classes is None else num_classes
    else:
        num = 1 if y.ndim == 1 else y.shape[-1]
    if len(class_names) not in (0, num):
        raise ValueError(
            f"`class_names` must be as many as the classes, {num}; got {len(class_names)}."
        )
    if kind == "classification":
        values, numbers = np.unique(y, return_counts=True)
        remedy = _numbering(values, num_classes) if not class_names else ""
        check_highest(y, num, "y", remedy=remedy)
        if numbers.min() < MIN_EXAMPLES and _numeric(class_names):
            remedy = f" ({_NUMBERS})"
        _check_classes(y, num, class_names, remedy)
        return num
    if len(y) < MIN_EXAMPLES:
        raise ValueError(f"`y` must have {MIN_EXAMPLES} examples or more; got {len(y)}.")
    if kind == "segmentation":
        values = np.unique(y)
        remedy = _numbering(values, num_classes)
        check_highest(y, num, "y", remedy=remedy)
        missing = np.setdiff1d(np.arange(min(num, y.size + 1)), values)
        if num < 2 or len(missing):
            what = f"none of class {missing[0]}" if len(missing) else "one class"
            raise ValueError(
                f"`y` must have places of each of two or more classes; got {what}{remedy}."
            )
        return num
    if num_classes not in (None, num):
        raise ValueError(f"`num_classes` must be {num}, the columns of `y`; got {num_classes}.")
    constant = np.flatnonzero((y == y[:1]).reshape(-1, num).all(0))
    if len(constant):
        raise ValueError(f"`y` must vary in each column; column {constant[0]} never does.")
    return num


def check_highest(y: Targets, num_classes: int, name: str, *, remedy: str = "") -> None:
    """Raises ValueError where a class is not in 0..num_classes - 1."""
    if y.max() >= num_classes:
        raise ValueError(f"`{name}` must be in 0..{num_classes - 1}; got {y.max()}{remedy}.")


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes in the order of their numbers, where all are numbers, else of letters."""
    names = sorted(names)
    return tuple(sorted(names, key=float) if _numeric(names) else names)


def _numeric(names: Iterable[str]) -> bool:
    return all(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in names)


def _classes(y: np.ndarray, x: Inputs, name: str) -> np.ndarray:
    _check_size(y, x, name)
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"`{name}` must be integers; got {y.dtype} ({_NUMBERS}).")
    if y.shape != (len(x),):
        raise ValueError(
            f"`{name}` must have shape ({len(x)},), a label an image; got {y.shape} (for several "
            "labels an image set `kind` to 'multi_label')."
        )
    return _whole(y, name, remedy=f" ({_NUMBERS})")


def _check_size(y: np.ndarray, x: Inputs, name: str) -> None:
    """Raises ValueError for maps of another height or width than the images'."""
    are_maps = x.ndim == 4 and y.ndim in (3, 4) and len(y) == len(x)
    if are_maps and y.shape[1:3] != x.shape[1:3]:
        wanted, given = (f"{one.shape[1]}x{one.shape[2]}" for one in (x, y))
        raise ValueError(
            f"`{name}` must have maps of the images' {wanted} pixels; got {given}: resize the one "
            "or the other."
        )


def _whole(y: np.ndarray, name: str, *, remedy: str = "") -> np.ndarray:
    if y.min() < 0:
        raise ValueError(f"`{name}` must be 0 or more; got {y.min()}{remedy}.")
    if y.max() > _LARGEST:
        raise ValueError(f"`{name}` must fit in 32 bits; got {y.max()}{remedy}.")
    return y.astype(np.int32)


def _several_labels(y: np.ndarray, x: Inputs, name: str) -> np.ndarray:
    if y.ndim != 2 or len(y) != len(x) or not y.shape[1]:
        raise ValueError(f"`{name}` must have shape ({len(x)}, classes); got {y.shape}.")
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"`{name}` must be 0 or 1; got {y[~np.isin(y, (0, 1))][0]}.")
    return y.astype(np.float32)


def _numbers(y: np.ndarray, x: Inputs, name: str) -> np.ndarray:
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or len(y) != len(x) or not y.shape[1]:
        raise ValueError(f"`{name}` must have shape ({len(x)}, outputs); got {y.shape}.")
    return _finite(y, name)


def _places(y: np.ndarray, x: Inputs, name: str) -> np.ndarray:
    _check_size(y, x, name)
    places = x.shape[:-1]
    y = y[..., 0] if y.shape == (*places, 1) else y
    if y.dtype.kind not in "iub" or y.shape != places:
        raise ValueError(
            f"`{name}` must be integers of shape {places}, a class for each place; "
            f"got {y.dtype} of {y.shape}."
        )
    return _whole(y.astype(np.uint8) if y.dtype.kind == "b" else y, name)


def _maps(y: np.ndarray, x: Inputs, name: str) -> np.ndarray:
    _check_size(y, x, name)
    places = x.shape[:-1]
    y = y[..., None] if y.shape == places else y
    if y.shape[:-1] != places or not y.shape[-1]:
        text = ", ".join(map(str, places))
        raise ValueError(f"`{name}` must have shape ({text}, outputs); got {y.shape}.")
    return _finite(y, name)


def _finite(y: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # what float32 cannot hold is as bad as an infinity
        y = y.astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(y).reshape(len(y), -1).all(1))
    if len(broken):
        raise ValueError(
            f"`{name}` must be finite; {len(broken)} targets are not, the first is {broken[0]}."
        )
    return y


_CHECKS = {
    "classification": _classes,
    "multi_label": _several_labels,
    "regression": _numbers,
    "segmentation": _places,
    "dense_regression": _maps,
}


def _numbering(values: Int[np.ndarray, " values"], num_classes: int | None) -> str:
    """The remedy, as the end of a sentence, where classes are not numbered 0, 1, ..., as those of a
    mask of 0 and 255; nothing where they are.

    values: all of the targets', sorted. num_classes: as the user said, if so."""
    if len(values) < 2 or num_classes not in (None, len(values)) or values[-1] < len(values):
        return ""
    return (
        f": relabel the {len(values)} values that there are, {values[0]} to {values[-1]}, as "
        f"0..{len(values) - 1}"
    )


def _check_classes(
    y: np.ndarray, num_classes: int, class_names: tuple[str, ...], remedy: str
) -> None:
    if num_classes < 2:
        raise ValueError("`y` must have two classes or more; got one.")
    if num_classes > len(y):
        raise ValueError(
            f"`y` must be 0..classes-1, each with {MIN_EXAMPLES} examples; "
            f"got {len(y)} examples for {num_classes} classes{remedy}."
        )
    counts = np.bincount(y, minlength=num_classes)
    if counts.min() < MIN_EXAMPLES:
        least = int(counts.argmin())
        known = f" ({class_names[least]!r})" if class_names else ""
        raise ValueError(
            f"`y` must have {MIN_EXAMPLES} examples or more of each class 0..{num_classes - 1}; "
            f"got {counts.min()} of class {least}{known}{remedy}."
        )
