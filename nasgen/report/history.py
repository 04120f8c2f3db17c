"""The history of a training: rows with a `step`, a `kind` (`train`, `eval`) and named numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def series(
    history: Sequence[Mapping[str, Any]], kind: str, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows of one kind that have a number under `name`."""
    of_kind = [row for row in history if row.get("kind") == kind]
    rows = [(row["step"], row[name]) for row in of_kind if row.get(name) is not None]
    steps, values = zip(*rows, strict=True) if rows else ((), ())
    return np.array(steps, int), np.array(values, float)
