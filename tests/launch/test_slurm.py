"""What SLURM is asked for, and what runs in its tasks."""

import importlib.util
import json
import os
import shlex
import subprocess
import sys

import pytest

from launch import slurm
from tests.launch.printed import ARGUMENTS, dry, run_in


def test_slurm_warns_in_time_and_asks_for_a_task_a_gpu(capsys, nothing_starts):
    (queue, task) = dry("slurm", capsys, "--gpus_per_node=4", "--hours=2", "--partition=a b")
    assert queue[0] == "sbatch" and "--requeue" in queue and "--partition=a b" in queue
    assert {"--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4"} <= set(queue)
    assert {"--time=120", "--signal=USR2@120"} <= set(queue)
    assert run_in(task)[0] == {"NASGEN_DISTRIBUTED": "auto"}
    (queue, _) = dry("slurm", capsys)
    assert "--ntasks-per-node=1" in queue and not any("gpus" in word for word in queue)


def test_slurm_without_submitit_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(SystemExit) as stopped:
        slurm.main(["--nodes=2", "--", *ARGUMENTS])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1 and "nasgen[slurm]" in error


def test_slurm_queues_what_it_prints(tmp_path):
    """Through submitit, with an sbatch that only notes what it is given."""
    if importlib.util.find_spec("submitit") is None:
        pytest.skip("needs submitit")
    for name, does in {"srun": "exit 1", "sbatch": "cp $1 kept.sh; echo batch job 7"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\ncd {tmp_path}\n{does}\n")
        (tmp_path / name).chmod(0o700)
    flags = ["--nodes=2", "--gpus_per_node=2", "--mem_gb=8", "--account=me", f"--logs={tmp_path}/l"]

    def said(*command):
        where = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [sys.executable, *command], env=where, capture_output=True, text=True, check=True
        ).stdout

    launcher = [slurm.__file__, *flags]
    queue, task = map(shlex.split, said(*launcher, "--dry_run", "--", *ARGUMENTS).splitlines())
    assert "scancel 7" in said(*launcher, "--", *ARGUMENTS)
    script = (tmp_path / "kept.sh").read_text().splitlines()
    written = {shlex.split(line)[1] for line in script if line.startswith("#SBATCH")}
    assert set(queue[1:-1]) <= written
    (held,) = (tmp_path / "l").glob("*.pkl")
    load = "import json, sys; from submitit.helpers import DelayedSubmission as D; "
    load += "print(json.dumps(D.load(sys.argv[1]).function.command))"
    assert json.loads(said("-c", load, str(held))) == task


def test_slurm_task_is_deaf_to_the_warning(tmp_path):
    """The run's own process ignores it, and gets its arguments as they are."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nkill -USR2 $$\nprintf "%s|" "$NASGEN_DISTRIBUTED" "$@"\n')
    python.chmod(0o700)
    command = slurm.task(ARGUMENTS, python=str(python))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.split("|")[2:-1] == ARGUMENTS and done.stdout.startswith("auto|")


def test_slurm_task_fails_with_its_command_and_begins_anew(tmp_path):
    slurm.Task(["true"])()
    with pytest.raises(subprocess.CalledProcessError):
        slurm.Task(["false"])()
