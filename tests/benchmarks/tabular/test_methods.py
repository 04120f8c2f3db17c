"""Every method on a made-up table: it asks as often as it may, nothing twice, nothing over a bound,
and the same again; nasgen finds more than chance."""

import jax
import numpy as np
import pytest

from nasgen.benchmarks.tabular import designer
from nasgen.benchmarks.tabular.cell_writer import know_cells
from nasgen.benchmarks.tabular.designer import Settings
from nasgen.benchmarks.tabular.methods import METHODS, Bound, ask
from nasgen.pretrained.bundle import load_cells
from tests.benchmarks.tabular import made_up

TABLE = made_up.table()
SETTINGS = Settings(draws=64, mutants=8, sample=256, steps=4, batch_size=32)
BOUND = Bound("phone", 20.0)


@pytest.fixture(scope="module")
def known():
    return know_cells(TABLE, load_cells("nb201"))


@pytest.mark.parametrize("bound", [None, BOUND])
@pytest.mark.parametrize("name", METHODS)
def test_methods(known, name, bound):
    key, options = jax.random.key(3), dict(settings=SETTINGS, bound=bound)
    rows = ask(name, key, TABLE, known, 17, **options)
    assert len(rows) == len(set(rows.tolist())) == 17
    if bound:
        assert (TABLE.latency[bound.device][rows] <= bound.milliseconds).all()
    assert (ask(name, key, TABLE, known, 17, **options) == rows).all()


@pytest.mark.parametrize("name", ["random", "evolution", "nasgen", "surrogate"])
def test_another_key_asks_for_others(known, name):
    asked = [
        ask(name, jax.random.key(seed), TABLE, known, 10, settings=SETTINGS) for seed in (3, 4)
    ]
    assert set(asked[0].tolist()) != set(asked[1].tolist())


def test_nasgen_asks_the_best_by_scores_first_and_learns(known):
    found = {}
    for name in ("nasgen", "random"):
        runs = [ask(name, jax.random.key(s), TABLE, known, 20, settings=SETTINGS) for s in range(2)]
        found[name] = np.mean([TABLE.validation[rows].max() for rows in runs])
        if name == "nasgen":
            first = np.mean([known.zero_cost[rows[0]] for rows in runs])
            assert first > np.quantile(known.zero_cost, 0.95)
    assert found["nasgen"] > found["random"] + 0.5


@pytest.mark.parametrize(("num", "left"), [(5, 250), (5, 7), (5, 3), (1, 9), (9, 12), (5, 0)])
def test_the_first_are_the_best_by_scores_and_ever_worse(num, left):
    scores = np.random.default_rng(0).permutation(300).astype(float)
    rows = np.sort(np.random.default_rng(1).choice(300, left, replace=False))
    chosen = designer.spread(rows, scores, num)
    ranks = np.argsort(np.argsort(-scores[rows]))[np.searchsorted(rows, chosen)]
    assert len(chosen) == min(num, left) and set(chosen) <= set(rows)
    assert (np.diff(ranks) > 0).all() and (not left or ranks[0] == 0)
    if left == 250:
        assert ranks[-1] == 124 and (np.diff(np.diff(ranks)) > 0).all()


def test_where_nothing_is_allowed_nothing_is_asked(known, monkeypatch):
    monkeypatch.setattr(designer, "_MAX_ROUNDS", 3)
    none = np.zeros(TABLE.num_rows, bool)
    options = jax.random.key(0), TABLE, known, SETTINGS, 10
    assert len(designer.search(*options, allowed=none)) == 0
