"""Rows of metrics for TensorBoard: event files beside metrics.jsonl, which has the same numbers."""

import math
import time
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
    # Half a second to import. Written in this thread: tensorboardX's own one ends where the clock
    # jumps, and whoever waits for it then waits for ever.
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary

    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    # A name of its own, also for what starts again within the same second.
    writer = EventsWriter(str(folder / FOLDER / "events"), f".from-{start}")
    if start:
        began = SessionLog(status=SessionLog.START)
        writer.write_event(Event(step=start + 1, session_log=began, wall_time=time.time()))

    def write(row: dict[str, Any]) -> None:
        values = [
            Summary.Value(tag=f"{row['kind']}/{name}", simple_value=value)
            for name, value in row.items()
            if name not in _NO_SCALARS and isinstance(value, int | float) and math.isfinite(value)
        ]
        about = dict(step=row["step"], wall_time=time.time())
        writer.write_event(Event(summary=Summary(value=values), **about))
        writer.flush()

    try:
        yield write
    finally:
        writer.close()
