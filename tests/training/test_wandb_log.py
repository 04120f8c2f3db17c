"""Weights & Biases, offline: rows arrive, a folder keeps its run, and nobody imports it unasked."""

import json
import subprocess
import sys

import pytest

from nasgen.pipeline import config as rules
from nasgen.training.wandb_log import FOLDER, wandb_log

ROWS = [
    {"step": 2, "kind": "train", "loss": 2.0, "seconds": 0.5},
    {"step": 2, "kind": "eval", "accuracy": 0.25},
    {"step": 4, "kind": "train", "loss": 1.0, "seconds": 0.9},
]


def test_rows_lie_in_the_folder_and_it_keeps_its_run(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs wandb (pip install wandb)")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb_log(tmp_path, name="first", settings={"seed": 3}) as log:
        for row in ROWS:
            log(row)
        run = wandb.run
    assert (run.project, run.name, run.config["seed"]) == ("nasgen", "first", 3)
    assert run.id == json.loads((tmp_path / FOLDER / "run.json").read_text())["id"]
    wandb.teardown()  # as the end of a process does: its files are whole then
    (written,) = (tmp_path / FOLDER).glob(f"offline-run-*/*{run.id}.wandb")
    for said in (b"train/loss", b"train/seconds", b"0.9", b"eval/accuracy", b"0.25"):
        assert said in written.read_bytes()
    with wandb_log(tmp_path, name="first", settings={"seed": 3}):
        assert wandb.run.id == run.id


def test_nobody_imports_it_unasked():
    code = "import sys, nasgen.training.wandb_log; assert 'wandb' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_it_the_setting_is_refused(monkeypatch):
    monkeypatch.setattr(rules.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(rules.UserError, match="pip install wandb"):
        rules.check_report({"report.wandb": True})
    rules.check_report({"report.wandb": False})
