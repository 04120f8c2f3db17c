"""Where a run happens: the record of its machine and versions, and the folder of its programs."""

import ctypes
import hashlib
import os
import platform
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from nasgen import processes

PACKAGES = ("nasgen", "jax", "jaxlib", "flax", "optax", "diffrax", "numpy", "scikit-learn")


def environment() -> dict[str, Any]:
    """What reproducing a run may need to know. Starts JAX's backend."""
    import jax

    devices = jax.devices()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shlex.join(sys.argv),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git_revision": git_revision(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpu_count": processes.cpu_count(),
        "backend": jax.default_backend(),
        "device_kind": devices[0].device_kind,
        "device_count": len(devices),
        "process_count": jax.process_count(),
    }


@contextmanager
def changed_variables(changed: Mapping[str, str]) -> Iterator[None]:
    """Some environment variables as given, for what is started inside; then as they were."""
    before = {name: os.environ.get(name) for name in changed}
    os.environ |= changed
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def git_revision() -> str | None:
    """The commit of nasgen's own checkout, with `+changes` where files differ; else `None`."""
    package = Path(__file__).resolve().parents[1]
    if _git(package, "ls-files", "--error-unmatch", "types.py") is None:
        return None  # No checkout, or one of another project that nasgen is installed in.
    revision = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--untracked-files=no")
    return revision and revision + ("+changes" if changes else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def keep_memory() -> None:
    """Tells glibc's malloc to keep freed memory for the next array instead of returning it to the
    system; a no-op elsewhere. JAX's CPU backend allocates every result anew, and the system clears
    each page again: about 8 % of the time that scoring networks takes."""
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # M_... in malloc.h
    for option, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**28)):
        _glibc("mallopt", option, value)


def release_memory() -> None:
    """Returns what `keep_memory` kept and nobody uses to the system. Networks differ in what they
    need, so that a long search would come to keep several times as much as it ever uses."""
    _glibc("malloc_trim", 0)


def _glibc(name: str, *arguments: int) -> None:
    try:
        function = getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return
    function(*arguments)


def program_folder(fallback: Path, name: str = "programs") -> Path:
    """A private folder for compiled programs: in the user's cache, or `fallback` if that fails.

    Compiled programs are run as they are read, so the folder must be ours and closed to others.
    One folder a kind of processor: home directories are shared between machines that differ.
    """
    home = os.environ.get("XDG_CACHE_HOME") or (
        os.environ.get("HOME") and os.path.join(os.environ["HOME"], ".cache")
    )
    for base in ([Path(home) / "nasgen"] if home else []) + [fallback]:
        folder = base / name / _processor()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK | os.X_OK):
                folder.chmod(0o700)
                return folder
        except OSError:
            continue
    return folder


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = [line for line in lines if line.startswith(("flags", "Features"))][:1]
    digest = hashlib.sha256("".join(flags).encode()).hexdigest()[:8]
    return f"{platform.machine()}-{digest}"
