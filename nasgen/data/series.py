"""A task from time series in a CSV or Parquet file, with a label for each.

    series,time,label,ax,ay        label,t0,t1,t2
    s1,0,walk,0.1,9.8              walk,0.1,0.3,0.2
    s1,1,walk,0.3,9.7              run,1.4,-0.8,2.1

On the left (long) a row is a moment: one column names its series, one its label, one may give the
time, and every other is a channel. On the right (wide) a row is a series of one channel, and every
column beside the label a moment, in the order of the file; one that names or counts the rows is
left out. Examples are `[length, channels]`.
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nasgen.data.arrays import MAX_LENGTH, from_arrays
from nasgen.data.targets import in_order
from nasgen.data.task import Dataset, check_memory

SERIES, TIME = "series", "time"  # columns looked for where none are named
SUFFIXES = (".csv", ".parquet")
NEEDS_PYARROW = '`path` {} needs pyarrow, not installed: pip install "nasgen[parquet]".'
_INDEX = "__index_level_"  # what pandas adds
_ROW_NAMES = ("id", "index")  # of columns that are no moments of a wide table
_NUMBER = re.compile(r"\d+(?:\.\d+)?")

Table = Mapping[str, np.ndarray]  # columns by name, of text or of numbers


class _Series(NamedTuple):
    """One series: its name for the user, its label, its values."""

    name: str
    label: str
    values: Float[np.ndarray, "length channels"]


def from_series(
    path: str | os.PathLike,
    *,
    seed: int = 0,
    label: str = "label",
    series: str | None = None,
    time: str | None = None,
    length: int | None = None,
    kind: str | None = None,
    metric: str | None = None,
) -> Dataset:
    """A data set from a table of series.

    label, series, time: names of columns; by default `label`, and `series` and `time` where the
    file has them (without `series` each row is one). length: pads shorter series with their last
    value and crops longer ones; without it all must be equally long. Blanks around a label are no
    part of it. kind: `classification` or
    `regression`; by default a regression where labels have fractions. metric: as in `from_arrays`.
    The task takes the file's name. Raises ValueError, in one line, where the file will not do.
    """
    path = Path(path)
    if length is not None and not 2 <= length <= MAX_LENGTH:
        raise ValueError(f"`length` must be in 2..{MAX_LENGTH} moments; got {length}.")
    if kind not in (None, "classification", "regression"):
        raise ValueError(f"`kind` of series must be classification or regression; got {kind!r}.")
    table = _read(path)
    column = _column(table, "label", label, path)
    series = _column(table, "series", series, path, default=SERIES)
    if time is not None and series is None:
        raise ValueError("`time` must come with `series`; without it each row is a whole series.")
    time = _column(table, "time", time, path, default=TIME if series else None)
    channels = [name for name in table if name not in (column, series, time)]
    said = ()
    if series is None:
        channels, said = _moment_columns(table, channels, path)
    if not channels:
        raise ValueError(f"`path` must have columns of values; {path.name} has {', '.join(table)}.")
    values = np.stack([_numbers(table[name], name, path) for name in channels], -1)
    labels = ["" if one is None or one != one else str(one).strip() for one in table[column]]
    if series is None:
        names = [f"row {row}" for row in range(1, len(values) + 1)]
        _check_finite(values, names, channels, path)
        found = [_Series(*one) for one in zip(names, labels, values[..., None], strict=True)]
    else:
        names = [str(one) for one in table[series]]
        _check_finite(values, names, channels, path)
        found = _gathered(names, labels, values, None if time is None else table[time], path)
    x, notes = _equally_long(found, length, path)
    y, class_names, kind = _targets([one.label for one in found], kind, path)
    found = from_arrays(
        x,
        y,
        name=path.stem,
        seed=seed,
        kind=kind,
        metric=metric,
        dims=1,
        class_names=class_names,
        notes=(*said, *notes),
    )
    columns = {"label": column, "series": series, "time": time, "fits": length is not None}
    of_moments, of_series = (None, channels) if series is None else (channels, None)
    return found._replace(table={**columns, "channels": of_moments, "moments": of_series})


def _read(path: Path) -> Table:
    if not path.is_file():
        raise ValueError(f"`path` must be a CSV or Parquet file; got {str(path)!r}, which is none.")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"`path` must end in .csv or .parquet; got {str(path)!r}.")
    try:
        table = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"`path` {path.name} cannot be read: {reason}.") from None
    if not len(next(iter(table.values()), ())):
        raise ValueError(f"`path` must have rows; {path.name} has none.")
    return table


def _read_csv(path: Path) -> Table:
    """Columns of text. Fields are parted by commas, semicolons or tabs: which, the header tells."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        rows = csv.reader(file, delimiter=max(",;\t", key=first.count), strict=True)
        header = _header(next(rows, []), path)
        columns = [[] for _ in header]
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise csv.Error(f"line {rows.line_num} has {len(row)} fields, not {len(header)}")
            for column, field in zip(columns, row, strict=True):
                column.append(field)
    return {name: np.array(column, str) for name, column in zip(header, columns, strict=True)}


def _read_parquet(path: Path) -> Table:
    try:
        from pyarrow import ArrowException, parquet, types
    except ModuleNotFoundError:
        raise ValueError(NEEDS_PYARROW.format(path.name)) from None
    try:
        file = parquet.ParquetFile(path)
        shape = file.metadata.num_rows, file.metadata.num_columns
        check_memory(shape, "path", "a smaller table will do")
        table = file.read()
    except (ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"`path` {path.name} is no Parquet file: {reason}.") from None
    for field in table.schema:
        if types.is_nested(field.type):
            raise ValueError(f"`path` must have plain columns; {field.name!r} is {field.type}.")
    kept = [place for place, name in enumerate(table.column_names) if not name.startswith(_INDEX)]
    header = _header([table.column_names[place] for place in kept], path)
    columns = (table.column(place).to_numpy() for place in kept)
    return dict(zip(header, columns, strict=True))


def _header(names: Sequence[str], path: Path) -> list[str]:
    """The names of columns, without spaces around them."""
    header = [name.strip() for name in names]
    name, times = Counter(header).most_common(1)[0] if header else ("", 0)
    if times > 1 or "" in header:
        what = f"{name!r} {times} times" if times > 1 and name else "a column without a name"
        raise ValueError(f"`path` must name each column, none twice; {path.name} has {what}.")
    return header


def _column(
    table: Table, argument: str, name: str | None, path: Path, *, default: str | None = None
) -> str | None:
    """The column to use: the named one, else the default where there is such a one."""
    if name is None:
        return default if default in table else None
    if name not in table:
        raise ValueError(
            f"`{argument}` must name a column of {path.name}; got {name!r}, and there are "
            f"{_listed(list(table))}."
        )
    return name


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _moment_columns(
    table: Table, names: Sequence[str], path: Path
) -> tuple[list[str], tuple[str, ...]]:
    """Those columns of a wide table that are moments, and what to say of them.

    A column called as one of `_ROW_NAMES` is none, nor is the only other that counts the rows.
    Where names do not tell the order of moments, which were read is said.
    """
    named = [name for name in names if name.lower() in _ROW_NAMES]
    for name in named:
        if len(set(table[name].tolist())) < len(table[name]):
            raise ValueError(
                f"`path` must have columns of moments; {name!r} of {path.name} names some rows "
                f"alike: set `series` to {name!r} if a row is a moment of it, or leave it out."
            )
    rest = [name for name in names if name not in named]
    counting = [name for name in rest if _counts(table[name])]
    if len(counting) == 1:
        named, rest = [*named, *counting], [name for name in rest if name not in counting]
    notes = [f"Column {name!r} was left out: it names or counts the rows." for name in named]
    if len(rest) > 1 and not _in_order(rest):
        notes.append(
            f"{len(rest)} columns were read as moments in the order of the file, from "
            f"{rest[0]!r} to {rest[-1]!r}."
        )
    return rest, tuple(notes)


def _counts(column: np.ndarray) -> bool:
    """Whether the values are whole numbers, each one more than that above."""
    if len(column) < 2 or not (_is_number(column[0]) and _is_number(column[-1])):
        return False
    first = float(column[0])
    if not first.is_integer() or float(column[-1]) != first + len(column) - 1:
        return False
    return all(
        _is_number(one) and float(one) == first + row for row, one in enumerate(column.tolist())
    )


def _in_order(names: Sequence[str]) -> bool:
    """Whether names are alike but for their numbers, and these grow: t0, t1, t2."""
    numbers = [[float(one) for one in _NUMBER.findall(name)] for name in names]
    alike = len({_NUMBER.sub("#", name) for name in names}) == 1
    return alike and all(a < b for a, b in zip(numbers, numbers[1:], strict=False))


def _numbers(column: np.ndarray, name: str, path: Path) -> Float[np.ndarray, " rows"]:
    """The column as numbers; an empty field is none of them, NaN."""
    if column.dtype.kind == "U":
        column = np.where(np.char.strip(column) == "", "nan", column)
    try:
        return column.astype(np.float64)
    except (ValueError, TypeError):
        odd = next(one for one in column if not _is_number(one))
        raise ValueError(
            f"`path` must have numbers in each column of values; {path.name} has {str(odd)!r} in "
            f"{name!r}."
        ) from None


def _is_number(value: object) -> bool:
    try:
        float(value)
    except (ValueError, TypeError):
        return False
    return True


def _check_finite(
    values: Float[np.ndarray, "rows channels"],
    names: Sequence[str],
    channels: Sequence[str],
    path: Path,
) -> None:
    rows, columns = np.nonzero(~np.isfinite(values))
    if len(rows):
        series = len({names[row] for row in rows})
        raise ValueError(
            f"`path` must have finite values; {series} series of {path.name} have others, the "
            f"first is {names[rows[0]]!r} in column {channels[columns[0]]!r}."
        )


def _gathered(
    names: Sequence[str],
    labels: Sequence[str],
    values: Float[np.ndarray, "rows channels"],
    times: np.ndarray | None,
    path: Path,
) -> list[_Series]:
    """The series of a long table, in the order of their first rows, each in the order of time."""
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows_of.setdefault(name, []).append(row)
    moments = None if times is None else _moments(times)
    found = []
    for name, rows in rows_of.items():
        if len({labels[row] for row in rows}) > 1:
            given = sorted({labels[row] for row in rows})
            raise ValueError(
                f"`path` must have one label a series; series {name!r} of {path.name} has {given}."
            )
        if moments is not None:
            rows = sorted(rows, key=moments.__getitem__)
            if any(moments[a] == moments[b] for a, b in zip(rows, rows[1:], strict=False)):
                raise ValueError(
                    f"`path` must have each time once a series; series {name!r} of {path.name} has "
                    "one twice."
                )
        found.append(_Series(name, labels[rows[0]], values[rows]))
    return found


def _moments(times: np.ndarray) -> list[float] | list[str]:
    """Times to sort by: numbers where all are, else text (dates as 2024-01-31 12:00 sort well)."""
    if times.dtype.kind in "Mm":
        times = times.astype(np.int64)
    texts = [str(one) for one in times]
    return [float(one) for one in texts] if all(map(_is_number, texts)) else texts


def _equally_long(
    found: Sequence[_Series], length: int | None, path: Path
) -> tuple[Float[np.ndarray, "examples length channels"], tuple[str, ...]]:
    lengths = np.array([len(one.values) for one in found])
    shortest, longest = found[lengths.argmin()], found[lengths.argmax()]
    if length is None and lengths.min() != lengths.max():
        raise ValueError(
            f"`path` must have series of one length; {path.name} has {lengths.min()} "
            f"({shortest.name!r}) to {lengths.max()} ({longest.name!r}): set `length` to pad and "
            "crop."
        )
    length = int(lengths[0]) if length is None else length
    channels = found[0].values.shape[-1]
    check_memory((len(found), length, channels), "path", "set a smaller `length`")
    x = np.empty((len(found), length, channels), np.float32)
    with np.errstate(over="ignore"):  # said later, as not finite
        for one, row in zip(found, x, strict=True):
            row[: len(one.values)] = one.values[:length]
            row[len(one.values) :] = one.values[-1]
    notes = []
    for number, what in (
        ((lengths < length).sum(), "padded with their last value to"),
        ((lengths > length).sum(), "cropped to their first"),
    ):
        if number:
            notes.append(f"{number} of {len(found)} series were {what} {length} moments.")
    return x, tuple(notes)


def _targets(
    labels: Sequence[str], kind: str | None, path: Path
) -> tuple[np.ndarray, tuple[str, ...], str]:
    """Targets, names of classes (none where numbers are to be predicted) and the kind."""
    empty = sum(not one for one in labels)
    if empty:
        raise ValueError(
            f"`path` must have a label for each series; {empty} of {path.name} have none."
        )
    numeric = all(map(_is_number, labels))
    if kind is None:
        fractions = numeric and any(not float(one).is_integer() for one in labels)
        kind = "regression" if fractions else "classification"
    if kind == "regression":
        if not numeric:
            odd = next(one for one in labels if not _is_number(one))
            raise ValueError(f"`path` must have numbers as labels of a regression; got {odd!r}.")
        return np.array(labels, np.float64), (), kind
    class_names = in_order(sorted(set(labels)))
    index = {name: number for number, name in enumerate(class_names)}
    return np.array([index[one] for one in labels], np.int32), class_names, kind
