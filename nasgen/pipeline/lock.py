"""One process at a time in a workdir: a lock file that names its holder.

The file holds the holder's pid and host as JSON, and the holder keeps an advisory lock (flock) on
it, which the kernel drops when the process ends, however it ends. A file without such a lock is
therefore stale on the host that wrote it, even where its pid has been given to another process. On
another host nothing can be known, so the file is believed; unless both were started by one launch
(`NASGEN_LAUNCH`: a job of SLURM, a pod of a name), which runs once at a time: after a pre-emption
it goes on elsewhere.
"""

import fcntl
import json
import os
import socket
from pathlib import Path

from nasgen.pipeline.config import UserError

LOCK = "lock"


def acquire(folder: Path) -> int:
    """Takes the lock of `folder`; returns its file descriptor, to be kept open.

    Raises `UserError` with pid and host where another process holds it.
    """
    path = folder / LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            held = not _try_flock(descriptor)
            pid, host, launch = _holder(descriptor)
            here, own = socket.gethostname(), os.environ.get("NASGEN_LAUNCH")
            elsewhere = host is not None and host != here
            if held or (elsewhere and not (own and own == launch)):
                remedy = "wait for it" if held else f"if that process has ended, delete {path}"
                raise UserError(
                    f"`--workdir` {folder} is in use by process {pid or 'unknown'} on "
                    f"{host or here}; {remedy}."
                )
            if _same_file(descriptor, path):
                record = json.dumps({"pid": os.getpid(), "host": here, "launch": own})
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, record.encode(), 0)
                return descriptor
            # Its last holder removed the file between our opening and locking it: once more.
            os.close(descriptor)
        except BaseException:
            os.close(descriptor)
            raise


def release(folder: Path, descriptor: int) -> None:
    """Gives the lock back and removes its file."""
    (folder / LOCK).unlink(missing_ok=True)
    os.close(descriptor)


def _try_flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # A file system without flock: the pid is all there is.
        pid, host, _ = _holder(descriptor)
        return pid is None or host != socket.gethostname() or not _alive(pid)
    return True


def _holder(descriptor: int) -> tuple[int | None, str | None, str | None]:
    """Its pid, host and launch."""
    try:
        record = json.loads(os.pread(descriptor, 4096, 0))
        return int(record["pid"]), str(record["host"]), record.get("launch")
    except (ValueError, KeyError, TypeError):
        return None, None, None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
