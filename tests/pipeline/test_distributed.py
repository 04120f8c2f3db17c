"""Which process of a run this is, as the environment says; where it is silent, the only one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nasgen.pipeline.config import UserError
from nasgen.pipeline.distributed import TOGETHER, Place, place

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "NASGEN_COORDINATOR": "10.0.0.2:4711",
    "NASGEN_NUM_PROCESSES": "4",
    "NASGEN_PROCESS_ID": "3",
}


def test_places():
    assert place({"PATH": "/bin"}) is None
    assert place(GOOD) == Place("10.0.0.2:4711", 4, 3)
    assert place({"NASGEN_DISTRIBUTED": "auto"}) == Place()
    assert place({**GOOD, "NASGEN_COORDINATOR": "[::1]:80"}).coordinator == "[::1]:80"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"NASGEN_DISTRIBUTED": "yes"}, ["NASGEN_DISTRIBUTED", "'auto'", "'yes'"]),
        ({"NASGEN_DISTRIBUTED": "auto"}, ["NASGEN_DISTRIBUTED", "alone", "NASGEN_COORDINATOR"]),
        ({"NASGEN_PROCESS_ID": None}, ["NASGEN_PROCESS_ID", "must be set too"]),
        ({"NASGEN_COORDINATOR": None}, ["NASGEN_COORDINATOR", "must be set too"]),
        ({"NASGEN_COORDINATOR": "here"}, ["NASGEN_COORDINATOR", "HOST:PORT", "'here'"]),
        ({"NASGEN_COORDINATOR": "here:0"}, ["NASGEN_COORDINATOR", "HOST:PORT", "'here:0'"]),
        ({"NASGEN_COORDINATOR": "here:99999"}, ["NASGEN_COORDINATOR", "'here:99999'"]),
        ({"NASGEN_COORDINATOR": ""}, ["NASGEN_COORDINATOR", "HOST:PORT"]),
        ({"NASGEN_NUM_PROCESSES": "0"}, ["NASGEN_NUM_PROCESSES", "at least 1", "'0'"]),
        ({"NASGEN_NUM_PROCESSES": "two"}, ["NASGEN_NUM_PROCESSES", "whole number", "'two'"]),
        ({"NASGEN_NUM_PROCESSES": "9" * 30}, ["NASGEN_NUM_PROCESSES", "9" * 30]),
        ({"NASGEN_PROCESS_ID": "4"}, ["NASGEN_PROCESS_ID", "0..3", "got 4"]),
        ({"NASGEN_PROCESS_ID": "-1"}, ["NASGEN_PROCESS_ID", "at least 0", "'-1'"]),
        ({"NASGEN_PROCESS_ID": "1.0"}, ["NASGEN_PROCESS_ID", "whole number", "'1.0'"]),
    ],
)
def test_bad_places_are_refused(change, says):
    environment = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    with pytest.raises(UserError) as error:
        place(environment)
    assert all(word in str(error.value) for word in says)


@pytest.mark.parametrize(
    ("environment", "pipeline", "says"),
    [
        ({"NASGEN_PROCESS_ID": "1"}, "design", "NASGEN_COORDINATOR"),
        ({"NASGEN_DISTRIBUTED": "auto"}, "design", "where JAX finds the other processes"),
    ],
)
def test_the_command_refuses_in_one_line(environment, pipeline, says, tmp_path):
    command = [sys.executable, "experiments/run.py", f"--workdir={tmp_path}/run"]
    command += ["--config=experiments/configs/quickstart.py", f"--config.pipeline={pipeline}"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and says in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_pipelines_of_several_processes_are_there():
    from experiments.run import PIPELINES

    assert set(TOGETHER) <= set(PIPELINES)
