"""The folder of one run: what lies where, who works in it, and which stages are whole.

    config.json      the config, as given            env.json       machine, versions, command,
                                                                    sha256 of weights it began with
    stages/*.json    sha256 manifest of each stage   results.json   the results; `finished: true`
    task.json        the task, where there is one  lock           pid and host of who works here

A folder comes into being whole (config and environment in it) or not at all. The same command on
the same workdir resumes: a stage is skipped when every file in its manifest has its hash.

In a run of several processes the first one opens the folder and writes; the others see the same
folder and read in it. What they must agree on the first one decides and tells.
"""

import hashlib
import json
import math
import os
import shutil
import socket
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from nasgen import processes
from nasgen.pipeline import lock, weights
from nasgen.pipeline.config import UserError, flat
from nasgen.pipeline.environment import environment

CONFIG, ENVIRONMENT, RESULTS, STAGES = "config.json", "env.json", "results.json", "stages"
_UNFINISHED = (".network-*", ".*.json.*", ".*.npz.*")  # what a killed process may have left
TASK = "task.json"


class Workdir(NamedTuple):
    """An open workdir.

    path: absolute. resumed: it held this run before. finished: its results are there and whole.
    lock: descriptor of the lock (`None` when finished, and where another process of the run holds
    it). created: folders made for it, outermost first.
    """

    path: Path
    resumed: bool
    finished: bool
    lock: int | None
    created: tuple[Path, ...] = ()


def open_workdir(path: str | Path, config: ConfigDict) -> Workdir:
    """Creates the workdir of a run, or opens it again.

    Raises `UserError`, leaving nothing behind: a path that cannot be a workdir, one that holds
    something else or the run of another config or of other weights, one that another run works in,
    one that not every process of this run sees.
    """
    path = Path(os.path.abspath(Path(path).expanduser()))
    given = plain(config.to_dict())
    opened = None

    def open_it() -> dict[str, bool]:
        nonlocal opened
        opened = _open(path, given)
        return {"resumed": opened.resumed, "finished": opened.finished}

    said = processes.from_first(open_it, error=UserError)
    workdir = opened or Workdir(path, **said, lock=None)
    try:
        _check_together(path, given)
    except BaseException:
        discard_workdir(workdir)
        raise
    return workdir


def _open(path: Path, given: dict[str, Any]) -> Workdir:
    try:
        if not _examine(path, given):
            created = _fill(path, given) if path.is_dir() else _create(path, given)
            if created is not None:
                return created
        if is_finished(path):
            return Workdir(path, resumed=True, finished=True, lock=None)
        descriptor = lock.acquire(path)
        workdir = Workdir(path, resumed=True, finished=is_finished(path), lock=descriptor)
        try:
            _examine(path, given)
            if not workdir.finished:
                _check_weights(path, given)
                _sweep(path)
                _note_resume(path, given)
        except BaseException:
            close_workdir(workdir)
            raise
        return workdir
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"`--workdir` {path} cannot be used: {reason}; name another.") from None


def _check_together(path: Path, given: dict[str, Any]) -> None:
    """Raises UserError where a process has another config, or does not see the folder."""
    own = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()
    places = processes.gathered([own, (path / CONFIG).exists(), socket.gethostname()])
    for number, (other, sees, host) in enumerate(places):
        if other != places[0][0]:
            raise UserError(
                f"the command must be the same in every process; process {number} on {host} was "
                "given another config than the first."
            )
        if not sees:
            raise UserError(
                f"`--workdir` must be a folder that every process sees; process {number} on {host} "
                f"sees no run in {path}: name a folder of a shared disk."
            )


def close_workdir(workdir: Workdir) -> None:
    """Lets other runs in."""
    if workdir.lock is not None:
        lock.release(workdir.path, workdir.lock)


def discard_workdir(workdir: Workdir) -> None:
    """Removes a workdir that this process created and nothing was written to; closes any other."""
    if not processes.is_first():
        return
    fresh = {CONFIG, ENVIRONMENT, TASK, lock.LOCK}
    if workdir.resumed or not {one.name for one in workdir.path.iterdir()} <= fresh:
        close_workdir(workdir)
        return
    close_workdir(workdir)
    for name in fresh:
        (workdir.path / name).unlink(missing_ok=True)
    _remove_empty(workdir.created)


def is_finished(path: Path) -> bool:
    """Whether the results are there, marked finished, and every stage is whole."""
    try:
        results = json.loads((path / RESULTS).read_text())
    except (OSError, ValueError):
        return False
    if not (isinstance(results, dict) and results.get("finished") is True):
        return False
    manifests = sorted((path / STAGES).glob("*.json"))
    return all(damaged_files(path, one.stem) == () for one in manifests)


def damaged_files(path: Path, name: str) -> tuple[str, ...] | None:
    """The files of stage `name` that are missing or differ from its manifest; `None` without one.

    A manifest that cannot be read is itself the damaged file.
    """
    manifest = path / STAGES / f"{name}.json"
    if not manifest.exists():
        return None
    try:
        kept = json.loads(manifest.read_text())
        if kept["stage"] != name:
            raise ValueError
        return tuple(file for file, one in kept["files"].items() if _digest(path / file) != one)
    except (ValueError, KeyError, TypeError, AttributeError):
        return (f"{STAGES}/{name}.json",)


def stage_done(workdir: Workdir, name: str) -> bool:
    """Whether stage `name` may be skipped. Damaged files are named on stderr, to be made again."""
    damaged = processes.from_first(lambda: damaged_files(workdir.path, name))
    if damaged:
        print(
            f"stage {name}: damaged or missing: {', '.join(damaged)}; doing it again",
            file=sys.stderr,
            flush=True,
        )
    return damaged is not None and not damaged


def forget_stage(workdir: Workdir, name: str) -> None:
    """Has stage `name` run again."""
    if processes.is_first():
        (workdir.path / STAGES / f"{name}.json").unlink(missing_ok=True)


def finish_stage(workdir: Workdir, name: str, files: Iterable[str | Path]) -> None:
    """Records the files (or folders of files) that stage `name` wrote, with their sha256."""
    if not processes.is_first():
        return
    hashes = {}
    for file in files:
        start = workdir.path / file
        if not start.exists():
            raise FileNotFoundError(f"Stage {name} names {file}, which it did not write.")
        for one in sorted(start.rglob("*")) if start.is_dir() else [start]:
            if one.is_file():
                hashes[one.relative_to(workdir.path).as_posix()] = _digest(one)
    (workdir.path / STAGES).mkdir(exist_ok=True)
    write_json(workdir.path / STAGES / f"{name}.json", {"stage": name, "files": hashes})


def write_results(workdir: Workdir, results: Mapping[str, Any]) -> None:
    """Writes results.json, with a manifest of its own, and so marks the run finished.

    `seconds_total` is the stages' where `results` has none and there are stages."""
    stages = sorted(workdir.path.glob("stage_*.json"))
    spent = sum(json.loads(one.read_text())["seconds"] for one in stages)
    total = {"seconds_total": spent} if stages else {}
    write_json(workdir.path / RESULTS, {**total, **results, "finished": True})
    finish_stage(workdir, "results", [RESULTS])


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that the file is there whole or as before. Numbers that are not finite: null.

    Arrays become lists, records (`NamedTuple`) dicts. Raises `TypeError` for anything else. The
    first process of a run writes, the others do nothing.
    """
    if not processes.is_first():
        return
    content = json.dumps(plain(value), indent=2, allow_nan=False) + "\n"
    _write_whole(path, lambda file: file.write(content.encode()))


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Writes an .npz file so that it is there whole or as before, in the first process of a run."""
    if processes.is_first():
        _write_whole(path, lambda file: np.savez(file, **arrays))


def _write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def plain(value: Any) -> Any:
    """`value` in JSON's own types."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__array__"):
        return plain(np.asarray(value).tolist())
    raise TypeError(f"JSON has no {type(value).__name__}; got {value!r}.")


def _examine(path: Path, given: dict[str, Any]) -> bool:
    """Whether `path` holds this run. False: it is free. Raises `UserError` where it is neither."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    if not path.is_dir():
        raise UserError(f"`--workdir` must be a folder; {path} is a file.")
    if not (path / CONFIG).exists():
        # What a process killed while it made the workdir may have left counts as nothing.
        left = (lock.LOCK, ENVIRONMENT, f".{ENVIRONMENT}.", f".{CONFIG}.")
        others = sorted(one.name for one in path.iterdir() if not one.name.startswith(left))
        if others:
            raise UserError(
                f"`--workdir` must be new, empty or the folder of a run; {path} has no {CONFIG} "
                f"but holds {others[0]!r}."
            )
        return False
    try:
        old = json.loads((path / CONFIG).read_text())
    except ValueError:
        old = None
    if not isinstance(old, dict):
        raise UserError(
            f"`--workdir` {path}: {CONFIG} is damaged; name a new workdir, or delete this one."
        )
    old = flat(old)
    new = flat(given)
    changed = [
        f"{key}: {_show(old, key)} -> {_show(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if _show(old, key) != _show(new, key)
    ]
    if changed:
        raise UserError(
            f"`--workdir` {path} holds a run of another config ({'; '.join(changed)}); "
            "name a new workdir, or give the old values."
        )
    return True


def _show(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "absent"


def _create(path: Path, given: dict[str, Any]) -> Workdir | None:
    """Makes the workdir aside and moves it into place; `None` where another process was first."""
    parents = [one for one in reversed(path.parents) if not one.exists()]
    aside = _beside(path)
    try:
        aside.mkdir(parents=True)
        workdir = _fill(aside, given)
        os.rename(aside, path)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError) and os.path.exists(path / CONFIG):
            return None
        _remove_empty(parents)
        raise
    return workdir._replace(path=path, created=(*parents, path))


def _check_weights(path: Path, given: Mapping[str, Any]) -> None:
    """Raises `UserError` where the run in `path` began with other weights, fewer or more. One that
    an earlier version began says nothing of its weights."""
    first, now = _environment(path), weights.hashes(given)
    before = first.get("weights", now)
    other = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
    if other:
        raise UserError(
            f"`--workdir` {path} holds a run that began with other weights ({', '.join(other)}); "
            f"name a new workdir, or go on with the nasgen of {first.get('git_revision')}."
        )


def _fill(path: Path, given: dict[str, Any]) -> Workdir:
    """Makes an empty folder (it may be a mount point) a workdir; config.json comes last."""
    descriptor = lock.acquire(path)
    try:
        write_json(path / ENVIRONMENT, environment() | {"weights": weights.hashes(given)})
        write_json(path / CONFIG, given)
    except BaseException:
        (path / ENVIRONMENT).unlink(missing_ok=True)
        lock.release(path, descriptor)
        raise
    return Workdir(path, resumed=False, finished=False, lock=descriptor)


def _sweep(path: Path) -> None:
    for one in [found for pattern in _UNFINISHED for found in path.rglob(pattern)]:
        shutil.rmtree(one) if one.is_dir() else one.unlink()


def _beside(path: Path) -> Path:
    """A new hidden name in the folder of `path`."""
    return path.with_name(f".{path.name[:64]}.{uuid.uuid4().hex[:8]}")


def _remove_empty(folders: Iterable[Path]) -> None:
    """Removes `folders` (outermost first) from the inside out, as far as they are empty."""
    for folder in reversed(tuple(folders)):
        try:
            folder.rmdir()
        except OSError:
            return


def _environment(path: Path) -> dict[str, Any]:
    """Where the run began; empty where that cannot be read."""
    try:
        return json.loads((path / ENVIRONMENT).read_text())
    except (OSError, ValueError):
        return {}


def _note_resume(path: Path, given: Mapping[str, Any]) -> None:
    first = {"weights": weights.hashes(given)} | _environment(path)
    write_json(path / ENVIRONMENT, {**first, "resumed": [*first.get("resumed", []), environment()]})


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
