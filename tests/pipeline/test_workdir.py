"""A workdir is there whole or not at all, belongs to one config and one process, and resumes."""

import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from nasgen.pipeline import environment, lock, workdir
from nasgen.pipeline.config import UserError

ROOT = Path(__file__).resolve().parents[2]


def make_config(**values):
    return ConfigDict({"seed": 0, "budget": {"params": 30_000}, "names": ("a", "b"), **values})


@pytest.fixture
def opened(tmp_path):
    return workdir.open_workdir(tmp_path / "run", make_config())


def reopen(path, config=None):
    work = workdir.open_workdir(path, config or make_config())
    workdir.close_workdir(work)
    return work


def snapshot(folder):
    return {one.relative_to(folder): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_new_workdir_holds_config_environment_and_lock(opened):
    assert {one.name for one in opened.path.iterdir()} == {"config.json", "env.json", "lock"}
    assert json.loads((opened.path / "config.json").read_text()) == {
        "seed": 0,
        "budget": {"params": 30_000},
        "names": ["a", "b"],
    }
    env = json.loads((opened.path / "env.json").read_text())
    assert env["python"].startswith("3.") and env["packages"]["jax"] and env["device_kind"]
    assert env["cpu_count"] >= 1 and "git_revision" in env and env["command"]
    assert json.loads((opened.path / "lock").read_text())["pid"] == os.getpid()
    assert not opened.resumed and not opened.finished
    assert [one.name for one in opened.path.parent.iterdir()] == ["run"]  # nothing left beside it


def test_same_config_resumes_and_notes_it(opened):
    workdir.close_workdir(opened)
    again = reopen(opened.path)
    assert again.resumed and not again.finished
    env = json.loads((opened.path / "env.json").read_text())
    assert len(env["resumed"]) == 1 and env["resumed"][0]["python"] == env["python"]
    assert not (opened.path / "lock").exists()


def test_what_a_killed_process_left_half_written_is_gone_when_the_run_goes_on(opened):
    (opened.path / ".network-ab12").mkdir()
    (opened.path / ".network-ab12" / "model.py").write_text("half")
    for name in (".results.json.0123abcd", ".trained.npz.0123abcd", ".mine", "notes.txt"):
        (opened.path / name).write_text("half")
    workdir.close_workdir(opened)
    left = {one.name for one in reopen(opened.path).path.iterdir()}
    assert left == {"config.json", "env.json", ".mine", "notes.txt"}


def test_other_config_is_refused_and_every_difference_listed(opened):
    workdir.close_workdir(opened)
    before = snapshot(opened.path)
    other = make_config(seed=1, budget={"params": 40_000, "macs": 5})
    with pytest.raises(UserError) as error:
        workdir.open_workdir(opened.path, other)
    message = str(error.value)
    assert "budget.params: 30000 -> 40000" in message and "seed: 0 -> 1" in message
    assert "budget.macs: absent -> 5" in message and "names" not in message
    assert snapshot(opened.path) == before


def test_a_run_goes_on_with_the_weights_that_it_began_with(tmp_path):
    weights, path = tmp_path / "weights", tmp_path / "run"
    weights.mkdir()

    def write(part, sha256):
        (weights / f"{part}.safetensors").write_bytes(b"")
        (weights / f"{part}.json").write_text(json.dumps({"sha256": sha256}))

    def kept():
        return json.loads((path / "env.json").read_text())["weights"]

    write("macro", "a")
    config = make_config(pretrained=str(weights))
    reopen(path, config)
    first = kept()
    assert first.keys() == {f"{weights}/macro", "open/accuracy"}
    assert first[f"{weights}/macro"] == "a" and len(first["open/accuracy"]) == 64
    assert reopen(path, config).resumed and kept() == first
    before = snapshot(path)
    for part, sha256 in (("macro", "b"), ("accuracy", "c")):  # one of its own is another one
        write(part, sha256)
        with pytest.raises(UserError, match=f"other weights .*weights/{part}.*; name a new"):
            workdir.open_workdir(path, config)
        assert snapshot(path) == before
        write("macro", "a")
    env = json.loads((path / "env.json").read_text())
    del env["weights"]  # as earlier versions wrote it
    (path / "env.json").write_text(json.dumps(env))
    assert reopen(path, config).resumed
    assert kept() == {f"{weights}/macro": "a", f"{weights}/accuracy": "c"}


def test_only_weights_that_a_run_reads_are_held_to_it(tmp_path):
    for config, parts in [
        ({"cells": "open"}, {"open/cells"}),
        ({"weights": {"open": "open"}}, {"open/cells"}),
        ({"pretrained": "nb201"}, {"nb201/cells"}),
        ({"pretrained": "open"}, {"open/cells", "open/macro", "open/accuracy"}),
        ({"accuracy": "nothing"}, set()),
    ]:
        path = tmp_path / str(len(list(tmp_path.iterdir())))
        reopen(path, make_config(**config))
        assert json.loads((path / "env.json").read_text())["weights"].keys() == parts


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_damaged_config_is_refused(opened, damage):
    workdir.close_workdir(opened)
    (opened.path / "config.json").write_bytes(damage)
    with pytest.raises(UserError, match="damaged"):
        workdir.open_workdir(opened.path, make_config())


def test_paths_that_cannot_be_workdirs_are_refused_untouched(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.png").write_text("mine")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = snapshot(tmp_path)
    for name in ("file", "full", "file/below", "loop", "loop/below", "n" * 300, "new/" + "n" * 300):
        with pytest.raises(UserError, match="--workdir"):
            workdir.open_workdir(tmp_path / name, make_config())
    assert snapshot(tmp_path) == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "full", "loop"]


def test_existing_empty_folder_is_filled_in_place(tmp_path):
    inode = tmp_path.stat().st_ino  # it may be a mount point or the current folder
    work = reopen(tmp_path)
    assert not work.resumed and tmp_path.stat().st_ino == inode
    assert reopen(tmp_path).resumed


def test_what_a_killed_start_left_counts_as_nothing(tmp_path):
    for name in ("env.json", ".config.json.abcd1234", "lock"):
        (tmp_path / name).write_text("")
    assert not reopen(tmp_path).resumed


def test_failing_start_leaves_nothing(tmp_path, monkeypatch):
    def fail():
        raise RuntimeError("no device")

    monkeypatch.setattr(workdir, "environment", fail)
    with pytest.raises(RuntimeError):
        workdir.open_workdir(tmp_path / "a" / "b", make_config())
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuntimeError):
        workdir.open_workdir(tmp_path / "empty", make_config())
    assert [str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*")] == ["empty"]


def test_discard_removes_only_what_it_made(tmp_path):
    workdir.discard_workdir(workdir.open_workdir(tmp_path / "a" / "b", make_config()))
    assert list(tmp_path.iterdir()) == []
    written = workdir.open_workdir(tmp_path / "c", make_config())
    (written.path / "metrics.jsonl").write_text("{}\n")
    workdir.discard_workdir(written)
    assert (tmp_path / "c" / "metrics.jsonl").exists()
    workdir.discard_workdir(workdir.open_workdir(tmp_path / "c", make_config()))  # resumed
    assert (tmp_path / "c" / "config.json").exists()
    assert not (tmp_path / "c" / "lock").exists()


def test_a_live_holder_is_named_and_a_killed_one_forgotten(tmp_path):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import pathlib, sys, time; from nasgen.pipeline import lock; "
            "lock.acquire(pathlib.Path(sys.argv[1])); print('held', flush=True); time.sleep(60)",
            str(tmp_path),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"process {holder.pid} on {os.uname().nodename}"):
            lock.acquire(tmp_path)
    finally:
        holder.kill()
        holder.wait()
    assert json.loads((tmp_path / "lock").read_text())["pid"] == holder.pid
    lock.release(tmp_path, lock.acquire(tmp_path))


def test_a_second_opening_in_this_process_is_refused(opened):
    with pytest.raises(UserError, match=str(os.getpid())):
        workdir.open_workdir(opened.path, make_config())
    assert (opened.path / "lock").exists()


def test_a_lock_of_another_host_is_believed(tmp_path):
    (tmp_path / "lock").write_text(json.dumps({"pid": 7, "host": "elsewhere"}))
    with pytest.raises(UserError, match="process 7 on elsewhere.*delete"):
        lock.acquire(tmp_path)


def test_a_lock_of_the_same_launch_is_taken_over_from_another_host(tmp_path, monkeypatch):
    other = {"pid": 7, "host": "elsewhere", "launch": "slurm 12"}
    for own in (None, "slurm 13", ""):
        monkeypatch.setenv("NASGEN_LAUNCH", own or "")
        (tmp_path / "lock").write_text(json.dumps({**other, "launch": own and "slurm 12"}))
        with pytest.raises(UserError, match="elsewhere"):
            lock.acquire(tmp_path)
    (tmp_path / "lock").write_text(json.dumps(other))
    monkeypatch.setenv("NASGEN_LAUNCH", "slurm 12")
    descriptor = lock.acquire(tmp_path)
    assert json.loads((tmp_path / "lock").read_text())["launch"] == "slurm 12"
    with pytest.raises(UserError, match="in use"):  # one that lives is never taken over
        lock.acquire(tmp_path)
    lock.release(tmp_path, descriptor)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x", "host": 1}', '{"pid": 1}'])
def test_a_torn_lock_is_stale(tmp_path, content):
    (tmp_path / "lock").write_text(content)
    lock.release(tmp_path, lock.acquire(tmp_path))


def test_only_one_of_many_gets_the_lock(tmp_path):
    got, start = [], threading.Barrier(8)

    def attempt():
        start.wait()
        try:
            got.append(lock.acquire(tmp_path))
        except UserError:
            pass

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    lock.release(tmp_path, got[0])


def test_without_flock_the_pid_decides(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = os.uname().nodename
    (tmp_path / "lock").write_text(json.dumps({"pid": gone.pid, "host": here}))
    descriptor = lock.acquire(tmp_path)
    with pytest.raises(UserError, match=str(os.getpid())):
        lock.acquire(tmp_path)
    lock.release(tmp_path, descriptor)


def test_stage_is_done_until_a_file_changes(opened, capsys):
    (opened.path / "part").mkdir()
    (opened.path / "part" / "a.bin").write_bytes(b"abc")
    (opened.path / "b.bin").write_bytes(b"def")
    assert not workdir.stage_done(opened, "sample")
    workdir.finish_stage(opened, "sample", ["part", "b.bin"])
    assert workdir.stage_done(opened, "sample") and not workdir.stage_done(opened, "score")
    assert capsys.readouterr().err == ""
    (opened.path / "part" / "a.bin").write_bytes(b"abd")
    assert not workdir.stage_done(opened, "sample")
    assert "part/a.bin" in capsys.readouterr().err
    (opened.path / "part" / "a.bin").unlink()
    assert workdir.damaged_files(opened.path, "sample") == ("part/a.bin",)
    (opened.path / "stages" / "sample.json").write_text("{")
    assert workdir.damaged_files(opened.path, "sample") == ("stages/sample.json",)


def test_stage_cannot_name_what_it_did_not_write(opened):
    with pytest.raises(FileNotFoundError, match=r"missing\.npz"):
        workdir.finish_stage(opened, "sample", ["missing.npz"])
    assert not workdir.stage_done(opened, "sample")


def test_finished_only_when_marked_and_every_stage_is_whole(opened):
    (opened.path / "net.bin").write_bytes(b"abc")
    workdir.finish_stage(opened, "train", ["net.bin"])
    assert not workdir.is_finished(opened.path)
    workdir.write_results(opened, {"accuracy": 0.9})
    workdir.close_workdir(opened)
    again = workdir.open_workdir(opened.path, make_config())
    assert again.finished and again.lock is None
    with pytest.raises(UserError):
        workdir.open_workdir(opened.path, make_config(seed=2))
    (opened.path / "net.bin").write_bytes(b"abd")
    assert not reopen(opened.path).finished
    (opened.path / "net.bin").write_bytes(b"abc")
    (opened.path / "results.json").write_text('{"finished": tr')
    assert not reopen(opened.path).finished


def test_json_has_no_nan_and_takes_arrays_and_records(tmp_path):
    class Point(NamedTuple):
        x: float
        y: tuple

    path = tmp_path / "a.json"
    workdir.write_json(
        path,
        {
            "nan": math.nan,
            "inf": [np.float32("inf"), 1.5],
            "array": np.array([1.0, math.nan]),
            "jax": jnp.arange(2),
            "record": Point(1.0, (np.int64(2), True)),
            "path": Path("a"),
            3: None,
        },
    )
    assert json.loads(path.read_text()) == {
        "nan": None,
        "inf": [None, 1.5],
        "array": [1.0, None],
        "jax": [0, 1],
        "record": {"x": 1.0, "y": [2, True]},
        "path": "a",
        "3": None,
    }


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    workdir.write_json(path, {"a": 1})
    with pytest.raises(TypeError, match="set"):
        workdir.write_json(path, {"a": {1, 2}})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workdir.os, "fsync", full)
    with pytest.raises(OSError):
        workdir.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_program_folder_is_private_and_falls_back(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = environment.program_folder(tmp_path / "run")
    assert folder.is_relative_to(tmp_path / "cache") and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert environment.program_folder(tmp_path / "run").stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    home = environment.program_folder(tmp_path / "run")
    assert home.is_relative_to(tmp_path / "home" / ".cache")
    monkeypatch.delenv("HOME")
    assert environment.program_folder(tmp_path / "run").is_relative_to(tmp_path / "run")
    (tmp_path / "notdir").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "notdir"))
    assert environment.program_folder(tmp_path / "run").is_relative_to(tmp_path / "run")


def test_git_revision_is_of_nasgens_own_checkout(monkeypatch, tmp_path):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    package = tmp_path / "nasgen"
    package.mkdir()
    (package / "types.py").write_text("")
    monkeypatch.setattr(environment, "__file__", str(package / "pipeline" / "environment.py"))
    assert environment.git_revision() is None
    subprocess.run([*git, "init", "-q"], check=True)
    assert environment.git_revision() is None  # a checkout of something else
    subprocess.run([*git, "add", "nasgen"], check=True)
    subprocess.run([*git, "commit", "-qm", "a"], check=True)
    clean = environment.git_revision()
    (package / "types.py").write_text("x = 1\n")
    assert len(clean) == 40 and environment.git_revision() == f"{clean}+changes"
