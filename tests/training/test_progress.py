"""A bar on a terminal, lines elsewhere, nothing without a label."""

import io
import sys

import pytest

from nasgen.training.progress import announce, duration, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(stream, **options) -> str:
    with progress(4, stream=stream, **options) as report:
        for done in range(1, 5):
            report(done, f"loss {done}")
    return stream.getvalue()


def test_lines_end_with_the_last_unit():
    assert run(io.StringIO(), label="train").count("\n") == 1  # only the last: it took no time
    text = run(io.StringIO(), label="train", seconds_between_lines=0.0)
    lines = text.splitlines()
    assert len(lines) == 4 and "\r" not in text
    assert lines[1].startswith("train 2/4 (50 %), loss 2") and "ETA" in lines[1]
    assert lines[-1].endswith("done")


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


def test_bar_on_a_terminal(wide):
    text = run(Terminal(), label="train [x]")
    assert "\r" in text and "4/4" in text and "100%" in text and "loss 4" in text and "[x]" in text


def test_lines_go_above_a_bar(wide, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress(2, label="outer") as outer:
        announce("network", "compiling")
        with progress(3, label="inner") as inner:  # a bar within a bar
            inner(3, "")
        outer(2, "")
    text = stream.getvalue()
    assert sys.stderr is stream
    assert "network: compiling\n" in text and "inner" in text and "2/2" in text


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_silent_without_a_label(stream):
    assert run(stream, label=None) == ""


def test_duration():
    assert [duration(seconds) for seconds in (0.4, 9.96, 41, 200, 7500)] == (
        ["0.4 s", "10 s", "41 s", "3 min 20 s", "2 h 05 min"]
    )
