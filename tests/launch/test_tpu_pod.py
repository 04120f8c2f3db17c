"""A pod is asked for, set up, used and given back, whatever happens to it in between."""

import shlex
import subprocess

import pytest

from launch import commands, tpu_pod
from tests.launch.printed import ARGUMENTS, POD, dry, inner


def test_pod_commands_are_in_order_and_of_one_place(capsys, nothing_starts):
    found = dry("tpu_pod", capsys, "--spot", "--project=mine")
    cloud = [words for words in found if words[0] == "gcloud"]
    verbs = [[word for word in words[3:6] if not word.startswith("-")] for words in cloud]
    assert [one[:2] for one in verbs] == [
        ["queued-resources", "create"],
        ["queued-resources", "describe"],
        ["tpu-vm", "scp"],
        ["tpu-vm", "ssh"],
        ["tpu-vm", "ssh"],
        ["queued-resources", "delete"],
    ]
    assert all({"--zone=us-central1-a", "--project=mine"} <= set(words) for words in cloud)
    assert all("--worker=all" in words for words in cloud if "tpu-vm" in words)
    assert {"--spot", "--accelerator-type=v5litepod-16", "--node-id=pod-1"} <= set(cloud[0])
    assert {"--force", "--quiet"} <= set(cloud[-1])
    assert inner(cloud[3]).endswith("mount -t nfs 10.0.0.2:/share '/my disk'")
    assert all("--spot" not in words for words in dry("tpu_pod", capsys))
    assert dry("tpu_pod", capsys, "--keep")[-1][-3:-1] != found[-1][-3:-1]


def test_what_a_worker_runs_is_right_to_a_shell(tmp_path):
    """Code and words of the run come through, quoted as they are."""
    pod = tpu_pod.Pod("pod", "zone", None, "type", "version", False, "", str(tmp_path))
    line = inner(tpu_pod.run(pod, ["--workdir=a 'b' $HOME"]))
    (tmp_path / "nasgen" / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / "nasgen" / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s|" "$NASGEN_DISTRIBUTED" "$@"\necho\nexit 5\n')
    python.chmod(0o700)
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    first, last = done.stdout.splitlines()
    assert first == "auto|experiments/run.py|--workdir=a 'b' $HOME|" and done.returncode == 5
    (tmp_path / "0.log").write_text(done.stdout)
    assert last == "nasgen ended with exit code 5" and tpu_pod.logged_code(pod) == 5


class Cloud:
    """A stand-in of gcloud. `runs`: how each run ends: the exit code that the log says, None for a
    pre-emption, which takes the pod and the log's end."""

    def __init__(self, pod, runs, state=None, queue=("WAITING_FOR_RESOURCES", "PROVISIONING")):
        self.pod, self.runs, self.state, self.queue = pod, list(runs), state, queue
        self.waiting, self.calls = [], []

    def __call__(self, command):
        words = list(command)
        if "describe" in words:
            self.state = self.waiting.pop(0) if self.waiting else self.state
            return (0, f"{self.state}\n") if self.state else (1, "ERROR: NOT_FOUND: it was not")
        self.calls.append(
            next(w for w in words if w in ("create", "delete", "scp", "ssh", "git", "mkdir"))
        )
        if "create" in words:
            assert self.state is None, "the name is taken"
            self.state, self.waiting = self.queue[0], [*self.queue, "ACTIVE"]
        elif "delete" in words:
            self.state = None
        elif any(commands.RUN in word and "pkill" not in word for word in words):
            self.calls[-1] = "run"
            code = self.runs.pop(0)
            if code is None:
                self.state = "SUSPENDED"
                return 255, ""
            tpu_pod.first_log(self.pod).write_text(f"words\nnasgen ended with exit code {code}\n")
            return min(code, 1), ""
        return 0, ""


def manage(tmp_path, runs, *, restarts=3, keep=False, **start):
    pod = tpu_pod.Pod("pod", "zone", None, "type", "version", True, "", str(tmp_path))
    cloud, slept = Cloud(pod, runs, **start), []
    options = dict(restarts=restarts, keep=keep, call=cloud, sleep=slept.append)
    return tpu_pod.manage(pod, ARGUMENTS, **options), cloud, slept


SET_UP = ["mkdir", "git", "scp", "ssh"]


def test_a_pod_is_made_used_and_deleted(tmp_path):
    code, cloud, slept = manage(tmp_path, [0])
    assert code == 0 and cloud.calls == ["create", *SET_UP, "run", "delete"]
    assert slept == [tpu_pod.SECONDS] * 2 and cloud.state is None


def test_after_a_pre_emption_another_pod_goes_on(tmp_path):
    code, cloud, _ = manage(tmp_path, [None, None, 0])
    once = ["create", *SET_UP, "run", "delete"]
    assert code == 0 and cloud.calls == once * 3


def test_a_worker_that_died_is_followed_by_another_try_on_the_same_pod(tmp_path):
    code, cloud, _ = manage(tmp_path, [75, 0])
    assert code == 0
    assert cloud.calls == ["create", *SET_UP, "run", "ssh", "run", "delete"]


@pytest.mark.parametrize("final", [1, 2])
def test_bad_input_and_defects_are_not_tried_again(tmp_path, final):
    code, cloud, _ = manage(tmp_path, [final])
    assert code == final and cloud.calls[-2:] == ["run", "delete"]


def test_tries_come_to_an_end_and_the_pod_is_given_back(tmp_path):
    code, cloud, _ = manage(tmp_path, [75] * 9, restarts=2)
    assert code == 75 and cloud.calls.count("run") == 3 and cloud.state is None


def test_a_pod_that_is_there_is_used_and_may_be_kept(tmp_path):
    code, cloud, _ = manage(tmp_path, [0], state="ACTIVE", keep=True)
    assert code == 0 and cloud.calls == [*SET_UP, "run"] and cloud.state == "ACTIVE"


def test_without_an_answer_nothing_is_asked_for_twice(tmp_path):
    """A state that gcloud cannot tell is not the state that there is no pod."""
    code, cloud, slept = manage(tmp_path, [0], queue=("PROVISIONING", "UNKNOWN", "UNKNOWN"))
    assert code == 0 and cloud.calls.count("create") == 1 and len(slept) == 3
    code, cloud, _ = manage(tmp_path, [], state="UNKNOWN")
    assert code == 1 and cloud.calls == []


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((0, "ACTIVE\n"), "ACTIVE"),
        ((0, "WARNING: an old gcloud\nWAITING_FOR_RESOURCES\n"), "WAITING_FOR_RESOURCES"),
        ((1, "ERROR: (gcloud.compute) NOT_FOUND: Resource 'pod' was not found\n"), None),
        ((1, "ERROR: (gcloud.compute) There was a problem refreshing your tokens\n"), "UNKNOWN"),
        ((0, ""), "UNKNOWN"),
    ],
)
def test_states_as_gcloud_tells_them(answer, state, tmp_path):
    pod = tpu_pod.Pod("pod", "zone", None, "type", "version", True, "", str(tmp_path))
    assert tpu_pod.state_of(pod, lambda command: answer) == state


def test_without_gcloud_one_line_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for argv in ([*POD, "--", *ARGUMENTS], ["pod-1", "--zone=z", "--delete"]):
        with pytest.raises(SystemExit) as stopped:
            tpu_pod.main(argv)
        error = capsys.readouterr().err.splitlines()
        assert stopped.value.code == 2 and error[-1] == "error: gcloud must be installed here"


def test_the_whole_pod_can_be_deleted_without_a_run(capsys, nothing_starts):
    assert tpu_pod.main(["pod-1", "--zone=z", "--delete", "--dry_run"]) == 0
    (words,) = (shlex.split(line) for line in capsys.readouterr().out.splitlines())
    assert words[3:6] == ["queued-resources", "delete", "pod-1"]
    for bad in (["Pod_1", *POD[1:]], POD[:2], ["pod-1"]):
        with pytest.raises(SystemExit) as stopped:
            tpu_pod.main([*bad, "--dry_run", "--", *ARGUMENTS])
        assert stopped.value.code == 2 and capsys.readouterr().err.count("\n") == 1
