"""Disks that are full or cannot be written, and a clock that jumps: a clear word, and what was
kept before stays whole."""

import errno
import itertools
import json
import subprocess
import time

import pytest
from ml_collections import ConfigDict

from experiments import run as command
from nasgen.pipeline import workdir
from nasgen.pipeline.config import UserError
from nasgen.training import checkpoint
from tests.experiments.test_run import ROOT, C
from tests.training.test_fit import assert_identical, initial, run

ROOM = 2_000_000  # bytes of the disk: several checkpoints


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this process may not mount a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_keeps_the_checkpoints_and_the_run_goes_on_when_there_is_room(disk):
    filler = disk / "filler"

    def fill(row):
        if row["step"] == 20:
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    file.write(bytes(4096))

    options = dict(checkpoint_every=10, log_every=10)
    with pytest.raises(Exception) as error:  # noqa: B017 (Orbax's own, of several kinds)
        run(initial(), workdir=disk / "run", on_metrics=fill, **options)
    assert "No space left" in command._disk(error.value)
    kept = disk / "run" / "checkpoints"
    assert [one.name for one in kept.iterdir()] == ["step-00000010"]  # and nothing half-written
    assert checkpoint.damage(kept / "step-00000010") is None
    filler.unlink()
    assert_identical(run(initial(), workdir=disk / "run", **options).state, run(initial()).state)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b.npz"), "a/b.npz: No space left"),
        (RuntimeError("tensorstore: No space left on device"), "make room for the workdir"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b.npz"), "a/b.npz cannot be used"),
    ],
)
def test_the_disk_is_named_in_one_line_and_the_run_resumes(
    error, says, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(ROOT)
    argv = ["run.py", C, f"--workdir={tmp_path}/run", "--config.compilation_cache=false"]

    def fail(config, work):
        (work.path / "half.txt").write_text("half")
        raise error

    def finish(config, work):
        assert work.resumed and (work.path / "half.txt").exists()
        workdir.write_results(work, {})

    assert command.main(argv, pipelines={"design": fail}) == command.DISK == 74
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and says in said
    assert command.main(argv, pipelines={"design": finish}) == 0


def test_a_folder_that_cannot_be_written_is_refused_and_a_finished_run_in_it_is_seen(disk):
    config = ConfigDict({"seed": 0})
    for name in ("begun", "done"):
        work = workdir.open_workdir(disk / name, config)
        if name == "done":
            workdir.write_results(work, {})
        workdir.close_workdir(work)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for name in ("begun", "new", "new/below"):
        with pytest.raises(UserError, match="cannot be used: Read-only file system"):
            workdir.open_workdir(disk / name, config)
    assert workdir.open_workdir(disk / "done", config).finished


def test_a_workdir_on_a_full_disk_leaves_nothing(disk):
    with (disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(UserError, match="cannot be used: No space left"):
        workdir.open_workdir(disk / "run", ConfigDict({"seed": 0}))
    assert [one.name for one in disk.iterdir()] == ["filler"]


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    straight = run(initial(average=True))
    jumps, clock = itertools.cycle([0, -86_400, 3.2e8]), time.time
    monkeypatch.setattr(time, "time", lambda: clock() + next(jumps))
    options = dict(checkpoint_every=10, workdir=tmp_path)
    with pytest.raises(AssertionError):
        run(initial(average=True), on_metrics=_stop_at(20), log_every=20, **options)
    assert_identical(run(initial(average=True), **options).state, straight.state)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert all(0 <= row["seconds"] < 600 for row in rows)


def _stop_at(step):
    def stop(row):
        assert row["step"] != step

    return stop
