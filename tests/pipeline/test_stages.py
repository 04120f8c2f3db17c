"""Stages count the seconds of every session that worked at them."""

import json
import time

import pytest
from ml_collections import ConfigDict

from nasgen.interruption import Interrupted
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.workdir import close_workdir, open_workdir


def test_seconds_of_an_interrupted_session_count(tmp_path):
    folder = tmp_path / "run"

    def interrupted():
        time.sleep(0.3)
        raise Interrupted(15)

    for work in (interrupted, interrupted, lambda: {"num": 1}):
        workdir = open_workdir(folder, ConfigDict({"seed": 0}))
        try:
            run_stages(workdir, [Stage("work", (), work)])
        except Interrupted:
            assert json.loads((folder / "spent_work.json").read_text())["seconds"] >= 0.3
        finally:
            close_workdir(workdir)
    report = read_stage(folder, "work")
    assert 0.6 <= report["seconds"] < 60 and report["num"] == 1
    assert not (folder / "spent_work.json").exists()


def test_an_error_leaves_no_seconds(tmp_path):
    workdir = open_workdir(tmp_path / "run", ConfigDict({"seed": 0}))
    with pytest.raises(ZeroDivisionError):
        run_stages(workdir, [Stage("work", (), lambda: 1 / 0)])
    close_workdir(workdir)
    assert not list((tmp_path / "run").glob("spent_*"))
