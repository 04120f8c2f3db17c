"""Scoring in chunks: resumed, pooled, with reasons; by proxies that need no compiled program."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from nasgen.benchmarks import scores
from nasgen.networks.plans import nb201 as plans
from nasgen.pipeline.workdir import open_workdir
from nasgen.proxies import Ensemble, Proxy
from nasgen.spaces import nb201
from nasgen.types import Task

PROXIES = {
    "params": Proxy((), lambda passes: float(passes.costs.params)),
    "drawn": Proxy((), lambda passes: float(sum(k.sum() for k in passes.kernels))),
    "broken": Proxy((), lambda passes: np.nan if passes.costs.layers > 12 else 1.0),
    "ranks": Ensemble(("params",), lambda parts: parts[0].argsort().argsort().astype(float)),
    "partly": Ensemble(("params", "broken"), lambda parts: parts.sum(0)),
}


@pytest.fixture
def workdir(tmp_path):
    return open_workdir(tmp_path / "run", ConfigDict({"seed": 0}))


@pytest.fixture
def job():
    """Seven networks of NAS-Bench-201 with 0 to 6 convolutions in each cell."""
    cells = [nb201.cell([3] * n + [1] * (6 - n)) for n in range(7)]
    calls = []

    def make_plans(rows):
        calls.append(rows)
        task = Task("test", (4, 4, 3), 10)
        return [plans.make_plan(cells[row], task, channels=8, cells=1) for row in rows]

    batch = np.zeros((2, 4, 4, 3), np.float32), np.zeros(2, np.int32)
    made = scores.Job("toy", 7, make_plans, PROXIES, jax.random.key(0), *batch)
    return made, calls


def test_chunks_pool_to_the_same_scores_and_reasons(workdir, job, tmp_path):
    job, _ = job
    scores.run(workdir, job, 3)
    parts = scores.read(workdir, job, 3)
    other = open_workdir(tmp_path / "other", ConfigDict({"seed": 0}))
    scores.run(other, job, 100)
    whole = scores.read(other, job, 100)
    assert list(parts.values) == list(PROXIES)
    for name, values in whole.values.items():
        assert values.shape == (7,)
        np.testing.assert_array_equal(values, parts.values[name])
    assert parts.reasons == whole.reasons
    np.testing.assert_array_equal(whole.values["ranks"], np.arange(7))  # over the whole pool
    broken = int(np.isnan(whole.values["broken"]).sum())
    assert 0 < broken < 7 and sum(whole.reasons["broken"].values()) == broken
    assert whole.reasons["partly"] == {"nan: a part is NaN": broken}
    assert parts.seconds > 0


def test_only_missing_chunks_are_scored(workdir, job):
    job, calls = job
    scores.run(workdir, job, 3)
    assert calls == [range(0, 3), range(3, 6), range(6, 7)]
    scores.run(workdir, job, 3)
    assert len(calls) == 3
    (workdir.path / "scores" / "toy_001.npz").write_bytes(b"damaged")
    scores.run(workdir, job, 3)
    assert calls[3:] == [range(3, 6)]


def test_times_of_proxies_alone(workdir, job):
    times = scores.time_passes(workdir, job[0], 2)
    assert times == {name: 0.0 for name in PROXIES}  # none needs a pass
