"""Runs one pipeline in several processes on this machine, which share its cores out. To JAX each is
a host of its own with one device; Gloo carries what they tell each other.

    python launch/local.py N [--dry_run] -- --config=FILE --workdir=FOLDER [--config.KEY=VALUE ...]

The first one's output is passed on. When one ends badly, so do the others, and the last lines of
the one that did are shown. The exit code is that of the first to end badly, 128 + S for signal S.
"""

import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.run import LOST
from launch.commands import RUN, Parser, run_command, shown, whole
from nasgen.interruption import GRACE
from nasgen.pipeline.distributed import free_port
from nasgen.processes import cpu_count

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 5.0  # seconds that the others have to end by themselves, and then to obey SIGTERM
LEAVE = GRACE + PATIENCE  # seconds that a run has after a signal
_LINES = 30  # of its output are shown


class Terminated(BaseException):
    """SIGTERM came."""


class Child(NamedTuple):
    """A process of the run; `last`: its last lines, none where they were passed on."""

    process: subprocess.Popen
    last: deque[str]


def commands(
    arguments: Sequence[str], num: int, *, port: int, cores: int, python: str = sys.executable
) -> list[list[str]]:
    """The command of each process; `cores` are those of the machine."""
    threads = str(max(cores // num, 1))
    shared = {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        "NPROC": threads,  # of XLA
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "NASGEN_COORDINATOR": f"127.0.0.1:{port}",
        "NASGEN_NUM_PROCESSES": str(num),
    }
    script = str(ROOT / RUN)
    return [
        run_command(
            arguments, {**shared, "NASGEN_PROCESS_ID": str(i)}, python=python, script=script
        )
        for i in range(num)
    ]


def start(command: Sequence[str], *, first: bool) -> Child:
    """Starts a process; the first one's output goes where this one's does."""
    if first:
        return Child(subprocess.Popen(command), deque())
    streams = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    process, last = subprocess.Popen(command, **streams), deque(maxlen=_LINES)
    threading.Thread(target=lambda: last.extend(process.stdout), daemon=True).start()
    return Child(process, last)


def watch(children: Sequence[Child]) -> int:
    """Waits for all, or for the first that ends badly, and then ends the others. The exit code."""
    processes = [child.process for child in children]
    while all(one.poll() in (None, 0) for one in processes):
        if all(one.poll() == 0 for one in processes):
            return 0
        time.sleep(0.1)
    _wait(processes, PATIENCE)  # those that are told of it, or fail alike, say so themselves
    bad = [i for i, one in enumerate(processes) if one.poll() not in (None, 0)]
    # Not one that only noticed that another had ended.
    worst = min(bad, key=lambda i: (processes[i].returncode in (LOST, -signal.SIGABRT), i))
    end(children)
    code = processes[worst].returncode
    if code != 2 or processes[0].returncode != 2:
        print("".join(children[worst].last), end="", file=sys.stderr)
        how = f"with exit code {code}" if code > 0 else f"by {signal.Signals(-code).name}"
        print(
            f"error: process {worst} of 0..{len(children) - 1} ended {how}, so the others were "
            "ended; the same command resumes the run",
            file=sys.stderr,
        )
    return code if code > 0 else 128 - code


def end(children: Sequence[Child]) -> None:
    """Ends those that still run: SIGTERM, and SIGKILL where that is not obeyed."""
    processes = [child.process for child in children]
    for act in (subprocess.Popen.terminate, subprocess.Popen.kill):
        for one in processes:
            if one.poll() is None:
                act(one)
        _wait(processes, PATIENCE)


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def _wait(processes: Sequence[subprocess.Popen], seconds: float) -> None:
    until = time.monotonic() + seconds
    while any(one.poll() is None for one in processes) and time.monotonic() < until:
        time.sleep(0.05)


def main(argv: Sequence[str]) -> int:
    """Runs the command line `argv`; returns the exit code."""
    parser = Parser(prog="launch/local.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("num", type=whole, metavar="N", help="how many processes")
    parser.add_argument("--dry_run", action="store_true", help="print the commands, start nothing")
    flags, arguments = parser.split(argv)
    made = commands(arguments, flags.num, port=free_port(), cores=cpu_count())
    if flags.dry_run:
        print(shown(made))
        return 0
    signal.signal(signal.SIGTERM, _terminate)
    children: list[Child] = []
    try:
        for index, command in enumerate(made):
            children.append(start(command, first=index == 0))
        return watch(children)
    except KeyboardInterrupt:  # the others got it, too
        _wait([child.process for child in children], LEAVE)
        return 130
    except Terminated:
        for child in children:
            child.process.terminate()
        _wait([child.process for child in children], LEAVE)
        return 128 + signal.SIGTERM
    finally:
        end(children)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
