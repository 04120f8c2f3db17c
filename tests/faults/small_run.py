"""A whole run at a small size, as users start it: a process of its own, on the digits."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NUM_EXACT, STEPS = 5, 34  # scores of each method; optimiser steps, two epochs of the digits
ARGUMENTS = (
    "--config=experiments/configs/quickstart.py",
    f"--config.design.num_exact={NUM_EXACT}",
    "--config.design.num_macros=16",
    "--config.methods.generate.batch=3",
    "--config.methods.generate.generations=2",
    "--config.design.baselines=('random',)",
    "--config.design.finalists=1",
    "--config.design.finalist_steps=6",
    f"--config.train.steps={STEPS}",
    "--config.budget.params=12_000",
    "--config.budget.macs=300_000",
    "--config.report.plots=False",
)
_FOLDERS = ("stages/", "searches/", "train/checkpoints/", "train/tensorboard/")
_FILES = ("env.json", "lock", "layer_times.json")
_TIMED = ("seconds", "latency_ms", "hours", "time")


def command(folder: Path, *more: str) -> list[str]:
    """The command of the run in this folder."""
    return [sys.executable, "experiments/run.py", *ARGUMENTS, f"--workdir={folder}", *more]


def start(folder: Path, *more: str, **environment: str | None) -> subprocess.Popen:
    """Starts the run, with these variables set, or None, not set."""
    held = {**os.environ, **environment}
    env = {name: value for name, value in held.items() if value is not None}
    streams = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(command(folder, *more), cwd=ROOT, env=env, **streams)


def finish(folder: Path, *more: str, **environment: str | None) -> tuple[int, str, str]:
    """Its exit code, and what it said."""
    process = start(folder, *more, **environment)
    out, err = process.communicate(timeout=3600)
    return process.returncode, out, err


def outcome(folder: Path) -> dict[str, Any]:
    """All that a finished run left: JSON and metrics without what a clock says, arrays and the
    network's files to the bit. Not the card, the reports, the layers' times, which tell hours."""
    found: dict[str, Any] = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        name = path.relative_to(folder).as_posix()
        inside = name.startswith(_FOLDERS)
        if inside or path.suffix in (".md", ".html") or path.name in _FILES:
            continue
        if path.suffix == ".json":
            found[name] = _untimed(json.loads(path.read_text()))
        elif path.suffix == ".jsonl":
            found[name] = [_untimed(json.loads(line)) for line in path.open()]
        else:
            found[name] = path.read_bytes()
    return found


def assert_same(folder: Path, other: Path) -> None:
    """Every file of one run is as that of the other."""
    one, two = outcome(folder), outcome(other)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


def assert_each_counted_once(folder: Path) -> None:
    """No network was lost, scored twice or counted twice."""
    found = json.loads((folder / "search.json").read_text())
    baselines = json.loads((folder / "baselines.json").read_text())
    for name, one in (("nasgen", found), ("random", baselines["random"])):
        networks = [json.dumps(network) for network in one["architectures"]]
        assert len(networks) == len(set(networks)) == NUM_EXACT
        rows = (folder / "searches" / f"{name}.jsonl").read_text().splitlines()
        scored = [json.loads(row)["row"]["architecture"] for row in rows]
        assert len(scored) == len(set(scored)) == NUM_EXACT
    assert json.loads((folder / "results.json").read_text())["num_exact_evaluations"] == NUM_EXACT


def _untimed(value: Any) -> Any:
    if isinstance(value, list):
        return [_untimed(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {k: _untimed(v) for k, v in value.items() if not _is_timed(k)}


def _is_timed(name: str) -> bool:
    return any(part.startswith(_TIMED) for part in re.split("[./]", name))
