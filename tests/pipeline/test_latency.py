"""The kept file of latencies: measured once, found again; and what a bound on latency implies."""

import json

import jax
import numpy as np
import pytest

from nasgen.networks.latency import Table
from nasgen.networks.latency_model import predict
from nasgen.networks.plan import Layer
from nasgen.pipeline import latency
from nasgen.types import Budget
from tests.networks.toy_latency import PREDICTOR
from tests.search import toy

MEASURED = latency.Measured(
    Table("toy", 1, 0.1, {(Layer("identity", 8, 8), (4, 4)): 0.5}, 2.0), PREDICTOR, 3.0
)


@pytest.fixture
def batches(monkeypatch):
    """The batches that were measured, by a stand-in for `measure`."""
    asked = []

    def measure(key, effort, *, batch):
        asked.append(batch)
        return MEASURED

    monkeypatch.setattr(latency, "measure", measure)
    return asked


def test_what_was_measured_is_kept(tmp_path, batches):
    path = tmp_path / "new" / "latency.json"
    for batch in (1, 1, 8, 1, 8):
        assert latency.kept(path, batch=batch) == MEASURED
    assert batches == [1, 8]
    assert len(json.loads(path.read_text())) == 2
    assert [one.name for one in path.parent.iterdir()] == ["latency.json"]


@pytest.mark.parametrize("content", ["", "[]", "no", '{"NAME": {"table": 1}}', '{"NAME": 3}'])
def test_another_file_is_refused(tmp_path, batches, content):
    path = tmp_path / "latency.json"
    path.write_text(content.replace("NAME", f"{latency.device_name()}, batch 1"))
    with pytest.raises(ValueError, match="the file of latencies must hold"):
        latency.kept(path)
    assert not batches


def test_random_networks_share_sizes_equally_and_are_pure_in_the_key():
    plans = latency.random_plans(jax.random.key(0), 7, sizes=(8, 16), max_channels=32)
    assert [plan.input_shape[0] for plan in plans] == [8] * 4 + [16] * 3
    assert plans == latency.random_plans(jax.random.key(0), 7, sizes=(8, 16), max_channels=32)
    assert (predict(PREDICTOR, plans) > 0).all()


def test_a_bound_on_latency_implies_bounds_on_what_is_counted():
    def cost_ms(architectures):
        return np.array([toy.cost(one) / 100 for one in architectures])

    problem = toy.problem()[0]
    for bound in (2.0, 8.0):
        budget = Budget(macs=10**9, latency_ms=bound)
        asked = problem._replace(budget=budget, latency=cost_ms)
        implied = latency.implied_budget(jax.random.key(0), asked)
        # Toy costs: 100 params a millisecond, MACs ten times the params.
        assert implied.macs == pytest.approx(1000 * bound, rel=0.3)
        assert implied.params is None and implied.latency_ms == bound
    tight = asked._replace(budget=Budget(macs=700, latency_ms=8.0))
    assert latency.implied_budget(jax.random.key(0), tight).macs == 700
    assert latency.implied_budget(jax.random.key(0), problem) == problem.budget
