"""The published tables, where they are at hand."""

import jax
import numpy as np
import pytest

from nasgen.benchmarks import tables
from nasgen.benchmarks.tabular import BENCHMARKS, nb201
from nasgen.benchmarks.tabular.features import features
from nasgen.data.folder import VARIABLE
from nasgen.networks.costs import count
from nasgen.networks.plans.transnas import make_plan
from nasgen.pipeline.config import UserError
from nasgen.types import Task

BEST = {  # as their papers say
    ("nb201", "cifar10"): 94.37,
    ("nb201", "cifar100"): 73.51,
    ("nb201", "ImageNet16-120"): 47.31,
    ("nb_macro", "cifar10"): 93.13,
    ("transnas_micro", "class_scene"): 54.94,
}


@pytest.fixture
def data(shared_data, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(shared_data))


@pytest.mark.parametrize(("name", "data_set"), BEST)
def test_tables(data, name, data_set):
    _check(BENCHMARKS[name].load(data_set), BEST[name, data_set])


def test_every_device_of_the_table_can_be_named(data):
    columns = [name for name in tables.read(tables.NB201_LATENCY).columns if name != "index"]
    assert columns == [f"lat_ms_{name}" for name in nb201.DEVICES] and len(columns) == 27


def test_costs_of_transnas_add_up_edge_by_edge(data):
    table = BENCHMARKS["transnas_micro"].load("jigsaw")
    for row in np.random.default_rng(0).integers(0, table.num_rows, 8).tolist():
        cell = table.architecture(row).cells[0]
        costs = count(make_plan(cell, Task("class_object", (256, 256, 3), 75)))
        found = [table.costs[name][row] for name in ("params", "macs")]
        assert found == [costs.params, costs.macs]


@pytest.mark.slow  # brings 423,624 cells to their canonical forms
def test_nb101(data):
    table = BENCHMARKS["nb101"].load("cifar10")
    _check(table, 94.32)
    recorded = np.isfinite(table.curves[12])
    assert recorded.sum() == 20_001
    assert np.corrcoef(table.curves[36][recorded], table.validation[recorded])[0, 1] > 0.5


def _check(table, best):
    name = table.name.partition("/")[0]
    assert round(float(table.test.max()), 2) == best
    assert np.isfinite(table.validation).all() and (table.seconds > 0).all()
    rng = np.random.default_rng(0)
    for row in rng.integers(0, table.num_rows, 20).tolist():
        assert table.row(table.architecture(row)) == row or name == "nb_macro"
        mutant = table.mutate(jax.random.key(row), row)
        assert mutant != row and 0 <= mutant < table.num_rows
    for column in (*table.costs.values(), *table.latency.values(), *table.curves.values()):
        assert column.shape == (table.num_rows,)
    if name == "nb_macro":  # rows that build the same network share every figure
        stands = np.array([table.row(table.architecture(row)) for row in range(table.num_rows)])
        assert len(set(stands.tolist())) == 3_969
        assert (table.test[stands] == table.test).all()
        assert (table.costs["macs"][stands] == table.costs["macs"]).all()
    if table.num_rows < 20_000:
        found = features(table)
        assert np.isfinite(found).all()
        assert np.abs(found.mean(0)).max() < 1e-3 and np.abs(found.std(0) - 1).max() < 1e-3


def test_a_missing_table_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    BENCHMARKS["nb_macro"].load.cache_clear()
    with pytest.raises(UserError, match=r"needs nas_bench_macro\.parquet; .* has none: set NASGEN"):
        BENCHMARKS["nb_macro"].load("cifar10")
