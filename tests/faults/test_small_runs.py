"""Whole runs that are killed, told to leave, started twice, and run in odd places: they end as the
run that nobody disturbed, to the bit."""

import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.faults import small_run
from tests.faults.small_run import assert_each_counted_once, assert_same, finish, start

KILLS = 20
LEAVES = 30.0  # seconds, at most, from a signal to the end of the process
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of the run that nobody disturbed, and the seconds it took."""
    folder, began = tmp_path_factory.mktemp("undisturbed") / "run", time.monotonic()
    code, _, said = finish(folder)
    assert code == 0, said[-3000:]
    return folder, time.monotonic() - began


def test_killed_at_random_moments_a_run_ends_as_if_it_had_not(undisturbed, tmp_path):
    straight, seconds = undisturbed
    assert_each_counted_once(straight)
    rng, killed, folders = random.Random(0), 0, 0
    while killed < KILLS:
        folder, ended = tmp_path / f"run-{folders}", False
        folders += 1
        while not ended:
            process = start(folder)
            try:
                last = killed == KILLS
                process.communicate(timeout=None if last else rng.uniform(0, 0.7 * seconds))
                assert process.returncode == 0
                ended = True
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                killed += 1
        assert_same(straight, folder)
        assert_each_counted_once(folder)
    print(f"{killed} kills at random moments, {folders} runs, each as the one without")


def scoring(folder):
    return any(folder.glob("searches/*.jsonl"))


def training(folder):
    return (folder / "train" / "metrics.jsonl").exists()


def halving(folder):
    return (folder / "finalists.jsonl").exists()


def delivering(folder):
    return (folder / "stages" / "train.json").exists()


MOMENTS = {
    "starting": lambda folder: (folder / "config.json").exists(),
    "scoring": scoring,
    "halving": halving,
    "compiling": lambda folder: (folder / "train").exists(),
    "training": training,
    "delivering": delivering,
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_at_any_moment_ends_the_run_in_time_and_loses_nothing(
    number, undisturbed, tmp_path
):
    folder = tmp_path / "run"
    for name, reached in MOMENTS.items():
        process = start(folder)
        while not (_at_work(process, folder) and reached(folder)) and process.poll() is None:
            time.sleep(0.02)
        scored = _lines(folder)
        process.send_signal(number)
        sent = time.monotonic()
        _, said = process.communicate()
        assert process.returncode == 128 + number, (name, said[-2000:])
        assert time.monotonic() - sent < LEAVES, name
        assert said.splitlines()[-1].startswith("interrupted: "), name
        assert _lines(folder) >= scored
        if name == "training":
            _assert_last_step_kept(folder)
    code, _, said = finish(folder)
    assert code == 0, said[-3000:]
    assert_same(undisturbed[0], folder)
    assert_each_counted_once(folder)
    print(f"{len(MOMENTS)} moments, {signal.Signals(number).name} in each")


def test_several_processes_leave_at_the_same_step(tmp_path):
    folder = tmp_path / "run"
    arguments = [*small_run.ARGUMENTS, f"--workdir={folder}"]
    command = [sys.executable, "launch/local.py", "2", "--", *arguments]
    launcher = subprocess.Popen(command, cwd=small_run.ROOT)
    while not training(folder) and launcher.poll() is None:
        time.sleep(0.05)
    launcher.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    assert launcher.wait() == 143
    assert time.monotonic() - sent < LEAVES
    _assert_last_step_kept(folder)
    assert subprocess.run(command, cwd=small_run.ROOT).returncode == 0
    assert_each_counted_once(folder)


def _at_work(process, folder):
    """Whether it holds the workdir: what lies there may be of the run before, and a process that
    only begins to import ends by the signal itself."""
    try:
        return f'"pid": {process.pid},' in (folder / "lock").read_text()
    except FileNotFoundError:
        return False


def _assert_last_step_kept(folder):
    rows = [json.loads(line) for line in (folder / "train" / "metrics.jsonl").open()]
    kept = [int(p.name[5:]) for p in folder.glob("train/checkpoints/step-*")]
    assert max(kept) >= max(row["step"] for row in rows)


def _lines(folder):
    return sum(len(path.read_text().splitlines()) for path in folder.glob("**/*.jsonl"))


def test_a_second_run_is_refused_and_a_lock_of_a_dead_one_is_not_believed(tmp_path):
    folder = tmp_path / "run"
    first = start(folder)
    while not (folder / "config.json").exists():
        time.sleep(0.05)
    code, _, said = finish(folder)
    assert code == 2 and said.count("\n") == 1
    assert f"in use by process {first.pid} on {socket.gethostname()}" in said
    first.kill()
    first.communicate()
    assert (folder / "lock").exists()
    third = start(folder)
    assert third.stdout.readline().startswith("Resuming ")
    third.kill()
    third.communicate()


def test_without_a_home_in_a_folder_of_any_name(undisturbed, tmp_path):
    folder = tmp_path / "first runs, 第一 ü'\"$" / "run 1"
    lost = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"))
    code, _, said = finish(folder, **lost)
    assert code == 0, said[-3000:]
    found, straight = small_run.outcome(folder), small_run.outcome(undisturbed[0])
    programs = [name for name in found if name.startswith("programs/")]
    assert programs and next((folder / "programs").iterdir()).stat().st_mode & 0o077 == 0
    assert {name: one for name, one in found.items() if name not in programs} == straight


def test_a_damaged_file_of_any_stage_is_made_again(undisturbed, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(undisturbed[0], folder)
    rng, tries = np.random.default_rng(0), 0
    for name in ("deliver", "train", "finalists", "baselines", "search"):
        files = sorted(json.loads((folder / "stages" / f"{name}.json").read_text())["files"])
        path = folder / files[int(rng.integers(len(files)))]
        content = bytearray(path.read_bytes())
        content[int(rng.integers(len(content)))] ^= 1
        path.write_bytes(content)
        code, _, said = finish(folder)
        assert code == 0, said[-3000:]
        assert f"damaged or missing: {path.relative_to(folder)}" in said
        assert_same(undisturbed[0], folder)
        tries += 1
    print(f"{tries} files damaged, each named and made again")
