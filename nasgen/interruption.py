"""SIGTERM and SIGINT: a run leaves at once, or, where that would lose work, at the next place that
keeps it.

Within `held` a signal waits until the caller asks (`asked`) and leaves by `Interrupted`; elsewhere
it raises that where the program stands. Python sees a signal only between two of its own
instructions, and a compilation can take minutes, so a thread ends the process `GRACE` seconds after
the signal, however busy it is.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from nasgen import processes

GRACE = 25.0  # seconds from a signal to the end of the process, at most
SIGNALS = (signal.SIGTERM, signal.SIGINT)
_came: int | None = None  # the signal that waits
_holds = 0


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to leave."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def code(self) -> int:
        """The exit code, as a shell has it: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number


@contextmanager
def listening(grace: float = GRACE) -> Iterator[None]:
    """Within it the signals are heard; in the main thread, others cannot."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _came, _holds
    _came, _holds = None, 0
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    over = threading.Event()
    before = {number: signal.signal(number, _on_signal) for number in SIGNALS}
    woken = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watch = threading.Thread(target=_end_late, args=(reader, over, grace), daemon=True)
    watch.start()
    try:
        yield
    finally:
        _came = None
        over.set()
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)
        watch.join()
        os.close(reader)


@contextmanager
def held() -> Iterator[None]:
    """Within it a signal waits for `asked`, or for its end; a second one does not."""
    global _holds
    _holds += 1
    try:
        yield
    finally:
        _holds -= 1
    if _came is not None and not _holds:
        raise Interrupted(_came)


@contextmanager
def released() -> Iterator[None]:
    """Within `held`: a signal that waits, or comes, raises here."""
    global _holds
    holds, _holds = _holds, 0
    try:
        if _came is not None:
            raise Interrupted(_came)
        yield
    finally:
        _holds = holds


def asked(*, agree: bool = True) -> Interrupted | None:
    """What to raise when the work is kept, None where no signal waits. Several processes have to
    leave at the same step, so they ask each other, where they are to `agree`, else go on."""
    number = _came
    if processes.count() > 1:
        told = processes.gathered(number) if agree else []
        number = next((one for one in told if one is not None), None)
    return None if number is None else Interrupted(number)


def _on_signal(number: int, frame: object) -> None:
    global _came
    first, _came = _came is None, _came or number
    if not (first and _holds):
        raise Interrupted(number)


def _end_late(reader: int, over: threading.Event, grace: float) -> None:
    """Ends the process some seconds after a signal that it has not obeyed."""
    while number := os.read(reader, 1):  # nothing: the other end is closed
        if number[0] in SIGNALS and not over.wait(grace):
            text = f"interrupted: busy for {grace:.0f} s, so it was ended; the same command resumes"
            print(text, file=sys.stderr, flush=True)
            os._exit(128 + number[0])
