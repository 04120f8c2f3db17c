"""SIGTERM and SIGINT: a run leaves in time, by a documented exit code, and loses no step."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nasgen import interruption
from nasgen.interruption import Interrupted
from nasgen.training import checkpoint, metrics
from tests.training.test_fit import (
    assert_identical,
    batch_fn,
    distance,
    initial,
    loss_fn,
    run,
    without_seconds,
)

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = dict(
    log_every=4, checkpoint_every=10, eval_fn=distance, eval_every=6, best_metric="closeness"
)


def send(number=signal.SIGTERM):
    signal.raise_signal(number)  # in this very thread, at once


def once(function, step, number=signal.SIGTERM):
    """`function` of a step or a state, during whose call at `step` the signal comes."""
    sent = []

    def call(given):
        if int(getattr(given, "step", given)) == step and not sent:
            sent.append(step)
            send(number)
        return function(given)

    return call


@pytest.mark.parametrize("number", interruption.SIGNALS, ids=lambda one: one.name)
@pytest.mark.parametrize("step", [0, 7, 10, 22, 39])
def test_a_signal_in_a_step_keeps_it_and_the_run_goes_on_to_the_same_end(tmp_path, step, number):
    straight = run(initial(average=True), workdir=tmp_path / "straight", **OPTIONS)
    folder = tmp_path / "stopped"
    with interruption.listening(), pytest.raises(Interrupted) as left:
        batches = once(batch_fn, step, number)
        run(initial(average=True), batches=batches, workdir=folder, **OPTIONS)
    assert left.value.code == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    kept = checkpoint.steps(folder / "checkpoints")
    assert kept[-1:] == [step + 1][: bool(step)]  # the first batch is drawn to compile for
    resumed = run(initial(average=True), workdir=folder, **OPTIONS)
    assert_identical(resumed.state, straight.state)
    assert_identical(resumed.best.state, straight.best.state)
    assert resumed.best[:2] == straight.best[:2]
    assert without_seconds(resumed.history) == without_seconds(straight.history)


@pytest.mark.parametrize("step", [6, 30, 40])
def test_a_signal_in_an_evaluation_keeps_the_step_and_evaluates_again(tmp_path, step):
    straight = run(initial(), workdir=tmp_path / "straight", **OPTIONS)
    folder, options = tmp_path / "stopped", {**OPTIONS, "eval_fn": once(distance, step)}
    with interruption.listening(), pytest.raises(Interrupted):
        run(initial(), workdir=folder, **options)
    assert checkpoint.steps(folder / "checkpoints")[-1] == step
    assert metrics.read(folder / "metrics.jsonl")[-1]["kind"] == "train"
    resumed = run(initial(), workdir=folder, **OPTIONS)
    assert_identical(resumed.state, straight.state)
    assert_identical(resumed.best.state, straight.best.state)
    assert without_seconds(resumed.history) == without_seconds(straight.history)


def test_a_signal_in_a_save_lets_it_end(tmp_path, monkeypatch):
    hashes = checkpoint._hashes

    def interrupted(path):
        send()
        return hashes(path)

    monkeypatch.setattr(checkpoint, "_hashes", interrupted)
    with interruption.listening(), pytest.raises(Interrupted):
        run(initial(), workdir=tmp_path, checkpoint_every=10)
    monkeypatch.setattr(checkpoint, "_hashes", hashes)
    assert checkpoint.steps(tmp_path / "checkpoints") == [10]
    assert checkpoint.damage(tmp_path / "checkpoints" / "step-00000010") is None
    assert_identical(run(initial(), workdir=tmp_path).state, run(initial()).state)


def test_a_signal_while_the_step_compiles_leaves_at_once(tmp_path):
    def traced(*arguments):
        send()
        return loss_fn(*arguments)

    with interruption.listening(), pytest.raises(Interrupted):
        run(initial(), loss=traced, workdir=tmp_path)
    assert checkpoint.steps(tmp_path / "checkpoints") == []


def test_without_a_workdir_there_is_nothing_to_keep():
    with interruption.listening(), pytest.raises(Interrupted):
        run(initial(), batches=once(batch_fn, 3))


def test_a_second_signal_does_not_wait():
    with interruption.listening(), pytest.raises(Interrupted), interruption.held():
        send(signal.SIGINT)
        assert interruption.asked().code == 130
        send(signal.SIGINT)
        raise AssertionError("it went on")


def test_outside_of_listening_signals_are_pythons_own():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with interruption.listening():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    assert interruption.asked() is None


BUSY = {  # what a process does that cannot leave: a call into C, a section that never asks
    "compiling": "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 2_000_000_000)",
    "held": "with interruption.held(): time.sleep(60)",
}


@pytest.mark.parametrize("number", interruption.SIGNALS, ids=lambda one: one.name)
@pytest.mark.parametrize("busy", BUSY)
def test_a_process_that_is_too_busy_to_leave_is_ended(busy, number):
    code = f"""
import time
from nasgen import interruption
with interruption.listening(grace=0.5):
    print("there", flush=True)
    {BUSY[busy]}
"""
    streams = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **streams)
    assert process.stdout.readline() == "there\n"
    time.sleep(0.2)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert said == "interrupted: busy for 0 s, so it was ended; the same command resumes\n"
