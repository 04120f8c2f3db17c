"""The latency benchmark on a device that follows the model's law: nothing is measured."""

import json

import jax
import numpy as np
import pytest

from experiments import run
from experiments.configs import bench_latency
from nasgen.benchmarks import latency as benchmark
from nasgen.networks.latency import Table
from nasgen.networks.latency_model import fit, predict
from nasgen.pipeline import config as rules
from nasgen.pipeline.config import UserError
from nasgen.pipeline.latency import Measured, choose_signatures, random_plans
from tests.networks.test_latency import layer_ms
from tests.networks.toy_latency import PREDICTOR


@pytest.fixture
def lawful(monkeypatch):
    """Measurements that are what the toy predictor says."""

    def measure(key, effort, *, batch):
        plans = random_plans(key, 20, sizes=effort.sizes, max_channels=effort.max_channels)
        chosen = choose_signatures(key, plans, effort.layers)
        table = Table("toy", batch, 0.0, {one: layer_ms(*one) for one in chosen}, 1.0)
        return Measured(table, fit(table, plans, predict(PREDICTOR, plans)), 2.0)

    monkeypatch.setattr(benchmark, "measure", measure)
    monkeypatch.setattr(
        benchmark, "measure_networks", lambda plans, *, batch: predict(PREDICTOR, plans)
    )


def test_the_benchmark_reports_what_it_measures(tmp_path, lawful, capsys):
    argv = ["run.py", "--config=experiments/configs/bench_latency.py", f"--workdir={tmp_path}/run"]
    assert run.main([*argv, "--config.num_networks=12"]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["median_relative_error"] == pytest.approx(0, abs=1e-3)
    assert results["spearman"] == pytest.approx(1)
    assert results["sum_of_layers/median_relative_error"] > 0.01
    assert results["num_networks"] == 12 and results["num_networks_fitted"] == 40
    assert (results["seconds_table"], results["seconds_table_and_fit"]) == (1.0, 2.0)


def test_agreement_by_hand():
    figures = benchmark.agreement(np.array([1.0, 3.0, 2.2]), np.array([1.0, 2.0, 4.0]))
    assert figures["median_relative_error"] == pytest.approx(0.45)
    assert figures["mean_relative_error"] == pytest.approx((0 + 0.5 + 0.45) / 3)
    assert figures["share_within_20_percent"] == pytest.approx(1 / 3)
    assert figures["spearman"] == pytest.approx(0.5)


def test_the_rules_cover_the_config_exactly():
    config = bench_latency.get_config()
    assert set(rules.flat(config)) == set(benchmark.RULES)
    rules.check(config, benchmark.RULES)
    config.effort.sizes = ()
    with pytest.raises(UserError, match="effort.sizes"):
        rules.check(config, benchmark.RULES)


def test_test_networks_are_not_those_of_the_fit():
    keys = benchmark._keys(bench_latency.get_config())
    draw = dict(sizes=(32,), max_channels=64)
    fitted = random_plans(jax.random.split(keys["predictor"], 3)[2], 40, **draw)
    assert not set(random_plans(keys["networks"], 50, **draw)) & set(fitted)
