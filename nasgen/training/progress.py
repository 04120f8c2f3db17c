"""Progress of a long loop: a bar with an ETA on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

SECONDS_BETWEEN_LINES = 10.0
Stream = Any  # anything with `write`, `flush` and `isatty`


@contextmanager
def progress(
    total: int,
    *,
    label: str | None,
    start: int = 0,
    stream: Stream | None = None,
    seconds_between_lines: float = SECONDS_BETWEEN_LINES,
) -> Iterator[Callable[[int, str], None]]:
    """Gives a function `report(done, text)` to call after each of `total` units of work.

    `start` units were done before (a resumed run), so they do not count for the speed. Without a
    `label` nothing is printed. Output goes to `stream`, by default standard error.
    """
    stream = stream or sys.stderr
    if label is None:
        yield lambda done, text: None
    elif stream.isatty():
        with _bars(stream) as bars:
            bar = bars.add_task(label, total=total, completed=start, text="")

            def report(done: int, text: str) -> None:
                bars.update(bar, completed=done, text=text)

            yield report
    else:
        yield _lines(total, label, start, stream, seconds_between_lines)


def announce(label: str | None, text: str, stream: Stream | None = None) -> None:
    """One line, above a bar where there is one, such as that a compilation begins; nothing without
    a `label`."""
    if label is not None:
        print(f"{label}: {text}", file=stream or sys.stderr, flush=True)


def duration(seconds: float | int) -> str:
    """`0.4 s`, `41 s`, `3 min 20 s` or `2 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class _Speed(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g}/s" if task.speed else "")


def _bars(stream: Stream) -> Progress:
    """While they are shown, lines that are printed go above them."""
    plain = dict(markup=False)
    return Progress(
        TextColumn("{task.description}", **plain),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[text]}", **plain),
        _Speed(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_console(getattr(stream, "rich_proxied_file", stream)),
        refresh_per_second=4,
    )


@cache
def _console(stream: Stream) -> Console:
    """One of each stream: bars within bars, such as scores within a search, are shown as one."""
    return Console(file=stream)


def _lines(
    total: int, label: str, start: int, stream: Stream, seconds_between_lines: float
) -> Callable[[int, str], None]:
    began = time.monotonic()
    last_line = began

    def report(done: int, text: str) -> None:
        nonlocal last_line
        now = time.monotonic()
        if now - last_line < seconds_between_lines and done < total:
            return
        last_line = now
        speed = max(done - start, 1e-9) / max(now - began, 1e-9)
        ending = f"ETA {duration((total - done) / speed)}" if done < total else "done"
        details = f", {text}" if text else ""
        print(
            f"{label} {done}/{total} ({100 * done // max(total, 1)} %){details}, "
            f"{speed:.3g}/s, {ending}",
            file=stream,
            flush=True,
        )

    return report
