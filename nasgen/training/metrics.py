"""Metrics of a run as JSON lines: one row a line, flushed, readable while the run goes on.

A row is a flat dict with a `step` (number of finished training steps). Numbers that JSON does
not know (NaN, infinities) are written as null.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np


def append(path: str | os.PathLike, row: dict[str, Any]) -> None:
    """Adds one row to the file. Call `drop_after` once before, when an earlier run may be there."""
    line = json.dumps(_plain(row), allow_nan=False)
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def read(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Every row of the file; a last line torn by an interruption is left out.

    Raises ValueError where another line is not a row.
    """
    path = Path(path)
    if not path.exists():
        return []
    *lines, torn = path.read_text(encoding="utf-8", errors="replace").split("\n")
    del torn  # a whole line ends in a newline, so what follows the last one is empty or torn
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise ValueError(f"`{path}` must hold one JSON object a line; line {number} is not.")
        rows.append(row)
    return rows


def drop_after(path: str | os.PathLike, step: int) -> list[dict[str, Any]]:
    """Drops the rows past `step` (and a torn line) from the file; returns the rows that stay."""
    path = Path(path)
    rows = [row for row in read(path) if row["step"] <= step]
    if path.exists():
        rewritten = path.with_name(path.name + ".new")
        rewritten.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        os.replace(rewritten, path)
    return rows


def _plain(value: Any) -> Any:
    """The value in JSON's own types."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__array__"):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
