"""The table of trained accuracies: as a user types it, with three networks of a few steps."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments import run
from nasgen.data import parquet
from nasgen.data.task import Dataset, Split
from nasgen.networks import costs
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import fitness_training
from nasgen.pipeline.accuracy_fit import OUTSIDE
from nasgen.pipeline.fitness_networks import OPEN, Band, spread
from nasgen.spaces.formats import architecture_from_json
from nasgen.types import Costs, Task

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "experiments/configs/fitness_table.py"
SMALL = dict(
    num=2,
    num_long=1,
    num_twice=1,
    num_train=64,
    num_evaluation=50,
    score_batch=8,
    batch_size=8,
    params_from="(500,)",
    params_to="(5_000,)",
    macs_from="(1_000,)",
    macs_to="(100_000,)",
    steps="(2, 4)",
    long_steps="(2, 6)",
)
ARGUMENTS = ["--config.tasks=('digits',)", *(f"--config.digits.{k}={v}" for k, v in SMALL.items())]


def _run(folder: Path, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "experiments/run.py", f"--config={CONFIG}", f"--workdir={folder}"]
    options = dict(cwd=ROOT, capture_output=True, text=True, timeout=600)
    return subprocess.run([*command, *ARGUMENTS, *more], env={**os.environ}, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("table") / "run"
    done = _run(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_fewer_images_are_of_the_whole_split(tmp_path):
    split = Split(np.zeros((100, 2, 2, 1), np.float32), np.repeat(np.arange(10), 10))
    dataset = Dataset(Task("sorted", (2, 2, 1), 10), split, split, split, None, None)
    fitness_training.save_data(tmp_path, dataset, 20, 1000)
    assert set(np.load(tmp_path / "sorted_train_y.npy")) == set(range(10))
    np.testing.assert_array_equal(np.load(tmp_path / "sorted_evaluation_y.npy"), split.y)


def test_rows_say_what_is_known_before_and_after_training(finished):
    frame = parquet.read(finished / "fitness_table.parquet")
    assert len(frame) == 3 and frame["long"].sum() == 1 and set(frame["seed"]) == {0, 1}
    first, again = frame[frame["architecture"] == frame["architecture"][0]].to_dict("records")
    assert first["seed"] != again["seed"] and first["proxy_snip"] != again["proxy_snip"]
    for row in frame.to_dict("records"):
        architecture = architecture_from_json(json.loads(row["architecture"]), OPEN)
        plan = make_plan(architecture, OPEN.ops, Task("digits", (8, 8, 1), 10))
        counted = costs.count(plan)
        assert counted == Costs(*(row[name] for name in Costs._fields))
        assert 500 <= counted.params < 5_000 and 1_000 <= counted.macs < 100_000
        assert row["feature_layers"] == counted.layers
        assert np.isfinite([row[f"proxy_{n}"] for n in ("snip", "t_cet", "synflow", "zico")]).all()
        assert 0 <= row["accuracy_2"] <= 1 and row["loss_2"] > 0
        last = 6 if row["long"] else 4
        assert 0 <= row[f"accuracy_{last}"] <= 1 and np.isnan(row[f"accuracy_{10 - last}"])
        assert len(row["train_loss"]) == last and row["cpu_seconds"] > 0
    about = json.loads((finished / "fitness_table.json").read_text())
    assert about["config"]["digits"]["num"] == 2 and "jax" in about["environment"]["packages"]
    counts = {"num_networks": 2, "num_networks/digits": 2, "num_long": 1, "num_twice": 1}
    assert about["figures"].items() >= counts.items() and about["earlier_commands"] == []
    results = json.loads((finished / "results.json").read_text())
    assert results["table/num_rows"] == 3 and results["finished"] is True


def test_one_process_or_two_and_resumed_or_not_are_the_same(finished, tmp_path):
    """A network alone, in a process of its own, gives what it gave among others."""
    folder = tmp_path / "again"
    (folder / "parts").mkdir(parents=True)
    for file in finished.glob("*.npy"):
        (folder / file.name).write_bytes(file.read_bytes())
    for index in (0, 1):
        kept = fitness_training.part_file(finished, index)
        (folder / "parts" / kept.name).write_bytes(kept.read_bytes())
    stamp = fitness_training.part_file(folder, 0).stat().st_mtime_ns
    (folder / "parts" / ".00002.npz").write_bytes(b"torn")
    rows = json.loads((finished / "networks.json").read_text())
    fitness_training.train_all(folder, rows, workers=1)
    assert fitness_training.part_file(folder, 0).stat().st_mtime_ns == stamp
    before, after = (fitness_training.read_part(one, 2) for one in (finished, folder))
    for name in ("accuracies", "losses", "train_losses"):
        np.testing.assert_array_equal(before[name], after[name], name)
    assert before["proxies"] == after["proxies"]
    assert not list((folder / "parts").glob(".*"))


def test_a_file_of_another_row_is_made_again(finished, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(finished, folder)
    rows = json.loads((folder / "networks.json").read_text())
    assert all(fitness_training.is_trained(folder, i, row) for i, row in enumerate(rows))
    rows[1] |= {"seed": 5, "proxies": []}
    assert not fitness_training.is_trained(folder, 1, rows[1])
    stamp = fitness_training.part_file(folder, 0).stat().st_mtime_ns
    fitness_training.part_file(folder, 2).write_bytes(b"")
    assert not fitness_training.is_trained(folder, 2, rows[2])
    fitness_training.train_all(folder, rows, workers=1)
    old, new = (fitness_training.read_part(one, 1) for one in (finished, folder))
    assert new["proxies"] == {} and "snip" in old["proxies"]
    assert (new["losses"] != old["losses"]).any()
    assert fitness_training.part_file(folder, 0).stat().st_mtime_ns == stamp
    old, new = (fitness_training.read_part(one, 2) for one in (finished, folder))
    np.testing.assert_array_equal(old["losses"], new["losses"])


@pytest.mark.slow
def test_what_searches_lead_to_joins_the_table(finished, tmp_path):
    more = ["source=searched", "search.scores=4", "search.each=2", "seed=1"]
    more += [f"earlier={finished / 'fitness_table.parquet'}"]
    done = _run(tmp_path / "run", *(f"--config.{one}" for one in more))
    assert done.returncode == 0, done.stderr[-3000:]
    frame = parquet.read(tmp_path / "run" / "fitness_table.parquet")
    assert list(frame["origin"][-3:]) == ["searched"] * 3 and len(frame) == 6
    about, before = (
        json.loads((f / "fitness_table.json").read_text()) for f in (tmp_path / "run", finished)
    )
    assert about["figures"]["num_networks/searched"] == 2
    assert about["earlier_commands"] == [before["command"]]
    new = frame[frame["origin"] == "searched"]
    assert (new["params"] < 5_000).all() and (new["macs"] < 100_000).all()
    inside = (new["params"] >= 500) & (new["macs"] >= 1_000)
    assert (new["band"] == np.where(inside, 0, OUTSIDE)).all()


def test_bands_and_depths():
    band = Band((10, 20), (5, 7))
    counted = Costs(*(np.array(v) for v in ([10, 20, 15], [5, 6, 7], [1] * 3, [1] * 3, [1] * 3)))
    assert band.holds(counted).tolist() == [True, False, False]


def test_spread_takes_the_extremes(finished):
    rows = json.loads((finished / "networks.json").read_text())
    pool = [architecture_from_json(row["architecture"], OPEN) for row in rows]
    task = Task("digits", (8, 8, 1), 10)
    layers = costs.count_many(pool, OPEN.ops, task).layers
    chosen = spread(pool, 2, task)
    found = costs.count_many(chosen, OPEN.ops, task).layers
    assert {found.min(), found.max()} == {layers.min(), layers.max()}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("--config.digits.steps=(4, 2)", "`config.digits.steps` must ascend"),
        ("--config.digits.num_long=3", "`config.digits.num_long` must be at most"),
        ("--config.digits.macs_to=(5, 6)", "must be equally long"),
        ("--config.tasks=('npz',)", "config.tasks"),
        ("--config.earlier=nowhere.parquet", "`config.earlier` must be a table"),
        ("--config.digits.score_batch=65", "`config.digits.score_batch` must be at most the 64"),
    ],
)
def test_bad_requests_are_one_line(tmp_path, monkeypatch, capsys, override, says):
    monkeypatch.chdir(ROOT)
    argv = ["run.py", f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", *ARGUMENTS, override]
    assert run.main([*argv, "--config.compilation_cache=false"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line
    assert not (tmp_path / "run").exists()


def test_missing_images_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("NASGEN_DATA", str(tmp_path))
    argv = ["run.py", f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}"]
    assert run.main([*argv, "--config.compilation_cache=false"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "cifar10_jpeg_packed.npz" in line and "set NASGEN_DATA" in line


def test_tasks_and_lengths_take_turns():
    """So that a table of a part of the rows knows of all."""
    kinds = [("a", 4)] * 3 + [("b", 4)] * 2 + [("a", 6)]
    rows = [{"task": {"name": name}, "recipe": {"steps": [2, steps]}} for name, steps in kinds]
    order = fitness_training.by_turns(rows)
    assert order == [0, 3, 5, 1, 4, 2]


_POOL = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from nasgen.pipeline.fitness_training import _begin

if __name__ == "__main__":
    start = dict(mp_context=get_context("spawn"), initializer=_begin, initargs=(None,))
    with ProcessPoolExecutor(1, **start) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(600)
"""


def test_workers_end_with_the_process_that_started_them(tmp_path):
    """Killed, it can tell them nothing."""
    (tmp_path / "pool.py").write_text(_POOL)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "pool.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as parent:
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)  # it is there
        parent.kill()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError(f"worker {worker} lives on")
