"""Several processes on this machine: their places, and what happens when one ends badly."""

import os
import signal
import sys
import threading
import time

import pytest

from launch import local
from tests.launch.printed import ARGUMENTS, run_in


def test_local_processes_share_the_cores_and_know_their_places():
    made = local.commands(ARGUMENTS, 3, port=4711, cores=8, python="python3")
    places = [run_in(words)[0] for words in made]
    assert [one["NASGEN_PROCESS_ID"] for one in places] == ["0", "1", "2"]
    assert {one["NASGEN_COORDINATOR"] for one in places} == {"127.0.0.1:4711"}
    assert {one["NASGEN_NUM_PROCESSES"] for one in places} == {"3"}
    assert {one["NPROC"] for one in places} == {"2"}
    assert {one["JAX_NUM_CPU_DEVICES"] for one in places} == {"1"}
    (alone,) = local.commands(ARGUMENTS, 1, port=4711, cores=8)
    assert run_in(alone)[0]["NPROC"] == "8"
    crowd = local.commands(ARGUMENTS, 5, port=4711, cores=2)
    assert {run_in(words)[0]["NPROC"] for words in crowd} == {"1"}


SCRIPTS = {  # of a child: what it does, and how `watch` says that it ended
    "well": "pass",
    "waits": "import time; time.sleep(60)",
    "stubborn": "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)",
    "fails": "import sys; print('what went wrong'); sys.exit(3)",
    "bad_input": "import sys; sys.exit(2)",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "lost": "import sys; sys.exit(75)",
}


@pytest.mark.parametrize(
    ("names", "code", "says"),
    [
        (("well", "well"), 0, []),
        (("waits", "fails"), 3, ["what went wrong", "process 1", "exit code 3"]),
        (("waits", "waits", "killed"), 137, ["process 2", "SIGKILL"]),
        (("lost", "killed"), 137, ["process 1", "SIGKILL"]),  # who noticed is not to blame
        (("stubborn", "fails"), 3, ["process 1"]),
        (("bad_input", "bad_input"), 2, []),  # both have said why
    ],
)
def test_when_one_ends_badly_all_end_and_it_is_named(names, code, says, capsys, monkeypatch):
    monkeypatch.setattr(local, "PATIENCE", 0.4)
    children = [
        local.start([sys.executable, "-c", SCRIPTS[name]], first=index == 0)
        for index, name in enumerate(names)
    ]
    assert local.watch(children) == code
    assert all(child.process.poll() is not None for child in children)
    error = capsys.readouterr().err
    assert all(word in error for word in says) and bool(error) == bool(says)


LEAVES = """
import pathlib, signal, sys, time

def leave(*_):
    time.sleep(0.6)  # a step, and its checkpoint
    pathlib.Path(sys.argv[1]).touch()
    sys.exit(143)

signal.signal(signal.SIGTERM, leave)
pathlib.Path(sys.argv[1] + ".there").touch()
time.sleep(60)
"""


def test_told_to_end_it_tells_the_others_and_waits_for_them(tmp_path, monkeypatch):
    names = [tmp_path / str(index) for index in range(2)]
    made = [[sys.executable, "-c", LEAVES, str(name)] for name in names]
    monkeypatch.setattr(local, "commands", lambda *arguments, **options: made)
    monkeypatch.setattr(local, "PATIENCE", 0.1)

    def tell():
        while not all(name.with_name(f"{name.name}.there").exists() for name in names):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=tell, daemon=True).start()
    try:
        assert local.main(["2", "--", *ARGUMENTS]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert all(name.exists() for name in names)
