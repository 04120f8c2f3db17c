"""Rows of metrics for TensorBoard: event files beside metrics.jsonl, which has the same numbers."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = "tensorboard"
_NO_SCALARS = ("step", "kind")


@contextmanager
def event_log(folder: Path | None, *, start: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Gives a function that takes each row. None: no files.

    start: steps done before; what an interrupted part of the run wrote after them is superseded.
    """
    if folder is None:
        yield lambda row: None
        return
    from tensorboardX import SummaryWriter  # half a second to import

    # A name of its own, also for what starts again within the same second.
    name = dict(logdir=str(folder / FOLDER), filename_suffix=f".from-{start}")
    with SummaryWriter(**name, purge_step=start + 1 if start else None) as writer:

        def write(row: dict[str, Any]) -> None:
            for name, value in row.items():
                is_number = isinstance(value, int | float) and math.isfinite(value)
                if name not in _NO_SCALARS and is_number:
                    writer.add_scalar(f"{row['kind']}/{name}", value, row["step"])

        yield write
