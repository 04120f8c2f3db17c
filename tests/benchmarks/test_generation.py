"""The benchmark of the generators of cells: its shares by hand, its figures on shipped weights."""

import json

import jax
import numpy as np
import pytest

from experiments import run
from experiments.configs import bench_generation
from nasgen.benchmarks import generation as benchmark
from nasgen.benchmarks import requests
from nasgen.benchmarks.density import strange_cells
from nasgen.benchmarks.trained_cells import load_trained
from nasgen.pipeline import config as rules
from nasgen.pretrained.bundle import load_cells
from nasgen.spaces import SPACES, graphs

SMALL = ("num=(120,40)", "seeds=(0,1)", "requests=6", "candidates=3", "batch=64", "rounds=2")
SMALL += ("densities=16", "density_conditions=2")
OPEN = SPACES["open"]


def command(folder, *changes):
    start = ["run.py", "--config=experiments/configs/bench_generation.py", f"--workdir={folder}"]
    return [*start, *(f"--config.{change}" for change in changes)]


def test_shares_by_hand():
    """Ten cells: one is not valid, two are alike, three of the eight others are known."""
    distinct = OPEN.sample(jax.random.key(0), 40)
    keys = graphs.canonical_keys(distinct)
    rows = [keys.index(key) for key in dict.fromkeys(keys)][:9]
    batch = graphs.take(distinct, np.array([*rows, rows[0]]))
    valid = np.arange(10) != 4
    known = frozenset(keys[row] for row in rows[:3])
    found = benchmark.shares(batch, valid, known)
    assert found == {
        "validity": 0.9,
        "uniqueness": pytest.approx(8 / 9),
        "novelty": pytest.approx(5 / 8),
        "valid_unique_yield": 0.8,
    }


def test_distinct_cells_are_as_many_as_asked_for():
    """Of a small space most are drawn more than once; what is kept is the first of each."""
    bundle = load_cells("nb201")
    batch, draws = benchmark.distinct(bundle, jax.random.key(0), 600)
    assert len(set(graphs.canonical_keys(batch))) == len(batch.nodes) == 600 <= draws


def test_how_a_request_was_met():
    wanted, found = np.log([10.0, 20, 40, 80]), np.log([11.0, 20, 30, 80])
    met = requests._met("open", "log_params", wanted, found)
    assert met == {"open/median_relative_error": pytest.approx(0.05), "open/spearman": 1.0}
    met = requests._met("x", "nwot", np.array([1.0, 2, 3, 4]), np.array([np.nan, 1, 3, 4]))
    assert met == {"x/median_relative_error": 0, "x/spearman": 1.0}


def figures_of(folder, spaces):
    assert run.main(command(folder, *SMALL, f"spaces={spaces}")) == 0
    results = json.loads((folder / "results.json").read_text())
    for space in spaces:
        assert results[f"{space}/validity"] == 1.0
        for share in ("uniqueness", "novelty", "valid_unique_yield"):
            assert 0 < results[f"{space}/{share}"] <= 1
            assert 0 < results[f"{space}/sampler/{share}"] <= 1
            values = results[f"{space}/at_40/{share}/all"]
            assert results[f"{space}/at_40/{share}"] == np.median(values) and len(values) == 2
        assert results[f"{space}/distinct/uniqueness"] == 1.0
    return results


def test_the_shares_of_shipped_weights(tmp_path):
    """All demanded names, with the median over seeds."""
    figures_of(tmp_path / "run", ("nb201",))
    page = (tmp_path / "run" / "report.md").read_text()
    assert all(f"| NAS-Bench-201 | {way} |" in page for way in ("generator", "distinct"))


@pytest.mark.slow
def test_the_figures_of_shipped_weights(tmp_path):
    """Of `open` also how requests are met, densities and speed."""
    folder = tmp_path / "run"
    results = figures_of(folder, ("open", "nb201"))
    for name in ("params", "macs", "snip_snr", "nwot"):
        for way in ("", "single/", "guided/", "guided_single/", "alone/"):
            start = f"open/condition/{way}{name}"
            assert results[f"{start}/median_relative_error"] >= 0
            assert -1 <= results[f"{start}/spearman"] <= 1
    assert results["open/cells_per_second"] > 0 and results["open/log_probs_per_second"] > 0
    assert results["open/condition/params/spearman"] > 0.8
    for name in ("beaten", "top1", "auc", "strange/dense", "strange/chain"):
        assert 0 <= results[f"open/density/{name}"] <= 1
    typical, atypical = (results[f"open/density/picture/{n}"] for n in ("typical", "atypical"))
    assert typical[0]["nats"] > atypical[-1]["nats"]
    assert (
        results["open/condition/above/params/wanted"]
        > (results["open/condition/above/params/training"])
    )
    assert (folder / "report.md").read_text().count("|") > 100
    assert (folder / "figures" / "requests.png").exists()
    assert (folder / "figures" / "typical.png").exists()


@pytest.mark.parametrize("name", ["open", "nb101"])
def test_strange_cells_are_of_their_space(name):
    space = SPACES[name]
    dense, chain = strange_cells(space).values()
    assert space.is_valid(graphs.pack([dense, chain])).all()
    assert len(dense.edges) == space.rules.max_edges and len(chain.edges) == len(chain.ops) + 1


def test_held_out_cells_are_those_of_the_pretraining():
    trained = load_trained("nb201")
    held = set(graphs.canonical_keys(trained.held))
    assert len(held) == 4687 // 20 and not held & trained.known
    assert trained.known == set(graphs.canonical_keys(trained.fitted))
    assert len(trained.known) + len(held) == 4687


def test_the_rules_cover_the_config():
    assert set(rules.flat(bench_generation.get_config())) == set(benchmark.RULES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("weights.open=nowhere", "`config.weights` must be one of"),
        ("weights.open=nb201", "`config.weights.open` must write cells of open; got nb201."),
        ("requests=2", "`config.requests` must be"),
    ],
)
def test_bad_configs_are_refused(tmp_path, capsys, change, message):
    assert run.main(command(tmp_path / "run", change)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
