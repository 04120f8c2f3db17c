"""The benchmarks of proxies and skeletons as a user types them, with a handful of architectures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import run
from experiments.configs import bench_proxies, bench_skeletons
from nasgen.benchmarks import proxies, skeletons, tables
from nasgen.data.folder import VARIABLE
from nasgen.pipeline import config as rules
from nasgen.pipeline.labels import Skeleton, in_skeleton

ROOT = Path(__file__).resolve().parents[2]
PROXIES = "experiments/configs/bench_proxies.py"
SMALL = [
    *[
        f"--config.{space}.{key}={value}"
        for space in proxies.SPACES
        for key, value in dict(num=5, cells=1, channels=8, size=8, batch=4).items()
    ],
    "--config.nb201.num_port=4",
    "--config.chunk=3",
    "--config.timed=1",
    "--config.bootstrap=20",
    "--config.proxies=('nwot', 'l2_norm')",
]
# The shipped config with few cells and small set-ups, whose programs are the same.
SKELETONS = """
from experiments.configs import bench_skeletons

def get_config():
    config = bench_skeletons.get_config()
    for name in tuple(config.setups):
        if name not in ("full", "3_cells"):
            del config.setups[name]
    for setup in config.setups.values():
        setup.channels, setup.final_width, setup.size, setup.batch = (8, 8), 8, 8, 4
        setup.strides, setup.repeats = (1, 1), (1, 1)
    config.setups.full.repeats = (1, 2)
    config.num, config.num_ceiling, config.chunk, config.bootstrap = 4, 3, 3, 20
    return config
"""


def _run(*arguments, env=None, timeout=300):
    command = [sys.executable, "experiments/run.py", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    options = dict(cwd=ROOT, capture_output=True, text=True, timeout=timeout)
    return subprocess.run(command, env=env, **options)


@pytest.fixture(scope="module")
def proxy_run(shared_data, tmp_path_factory):
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("bench") / "run"
    arguments = [f"--config={PROXIES}", f"--workdir={folder}", *SMALL]
    env = {VARIABLE: str(shared_data)}
    done = _run(*arguments, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, arguments, env


def test_proxy_results_have_every_name(proxy_run):
    results = json.loads((proxy_run[0] / "results.json").read_text())
    sets = [f"nb201/{name}" for name in tables.NB201_MEASURES]
    sets += ["nb101/cifar10", "transnas_micro/jigsaw", "transnas_micro/room_layout"]
    for one in sets:
        for statistic in ("spearman", "kendall", "spearman_low", "spearman_high"):
            value = results[f"{one}/nwot/{statistic}"]
            assert value is None or -1 <= value <= 1
        assert f"{one}/nwot/spearman_top10" in results
        assert f"{one}/params/spearman" in results and f"{one}/l2_norm/spearman" in results
        assert f"{one}/nwot/partial_given_params" in results
    assert results["nb201/port/params/spearman_published"] == pytest.approx(1)
    assert results["nb201/port/params/spearman_again"] == pytest.approx(1)
    drawn = [
        np.load(proxy_run[0] / "scores" / f"nb201_port{end}_000.npz") for end in ("", "_again")
    ]
    assert (drawn[0]["params"] == drawn[1]["params"]).all()
    assert (drawn[0]["l2_norm"] != drawn[1]["l2_norm"]).all()  # other weights
    assert results["nb201/port/nwot/compared"] <= 4
    for space in proxies.SPACES:
        assert results[f"{space}/num"] == 5 and results[f"{space}/seconds_each"] > 0
        assert 0 <= results[f"{space}/nwot/left_out"] <= 5
        assert results[f"{space}/nwot/seconds_alone"] > 0


def test_proxy_page_and_picture(proxy_run):
    page = (proxy_run[0] / "report.md").read_text()
    assert "| nwot |" in page and "published" in page and "seconds alone" in page
    assert "figures/spearman.png" in page and "## Against printed correlations" in page
    picture = proxy_run[0] / "figures" / "spearman.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_run_scores_only_what_is_missing(proxy_run, monkeypatch, capsys):
    folder, arguments, env = proxy_run
    before = json.loads((folder / "results.json").read_text())
    (folder / "results.json").unlink()
    (folder / "scores" / "nb101_001.npz").unlink()
    kept = (folder / "scores" / "nb101_000.npz").stat().st_mtime_ns
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv(VARIABLE, env[tables.VARIABLE])
    assert run.main(["run.py", *arguments]) == 0
    said = capsys.readouterr().err
    assert "nb201_000: done before" in said and "nb101_001: done in" in said
    assert (folder / "scores" / "nb101_000.npz").stat().st_mtime_ns == kept
    after = json.loads((folder / "results.json").read_text())
    assert {k: v for k, v in after.items() if "seconds" not in k} == {
        k: v for k, v in before.items() if "seconds" not in k
    }


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("--config.proxies=('nwott',)", "did you mean `nwot`"),
        ("--config.nb201.num=20_000", "`config.nb201.num` must be at most 15625"),
        ("--config.nb201.size=20", "`size` must divide 32"),
        ("--config.spaces=('nb301',)", "config.spaces"),
        (None, "looked at"),
    ],
)
def test_bad_requests_are_one_line(shared_data, tmp_path, monkeypatch, capsys, override, says):
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(ROOT)
    missing = tmp_path / "nowhere"
    monkeypatch.setenv(VARIABLE, str(missing if override is None else shared_data))
    argv = ["run.py", f"--config={PROXIES}", f"--workdir={tmp_path / 'run'}"]
    argv += ["--config.compilation_cache=false", *([override] if override else [])]
    assert run.main(argv) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("module", [bench_proxies, bench_skeletons])
def test_shipped_configs_are_valid(module):
    rules.validate(module.get_config().lock(), pipelines=run.PIPELINES)


def test_the_reference_skeleton_has_17_cells():
    setups = skeletons.read_setups(bench_skeletons.get_config().lock())
    full = setups["full"]
    cell = skeletons.SPACES["open"].sample(skeletons.jax.random.key(0), 1)
    network = in_skeleton(skeletons.graphs.unpack(cell)[0], full)
    assert sum(stage.repeats for stage in network.macro.stages) == 17
    assert full.channels == (16, 32, 64) and (full.size, full.batch) == (32, 64)
    assert Skeleton() in [Skeleton(*one[:-1]) for one in setups.values()]  # today's own set-up


def test_skeletons_are_compared_and_the_cheapest_is_named(tmp_path):
    config, folder = tmp_path / "small.py", tmp_path / "run"
    config.write_text(SKELETONS)
    done = _run(f"--config={config}", f"--workdir={folder}")
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((folder / "results.json").read_text())
    for name in skeletons.NAMES:
        assert results[f"setups/full/{name}/spearman"] == pytest.approx(1)
        for start in ("setups/3_cells", "ceiling"):
            assert -1 <= results[f"{start}/{name}/spearman"] <= 1
            assert 0 <= results[f"{start}/{name}/left_out"] <= 5
    agreeing = [
        name
        for name in ("full", "3_cells")
        if min(results[f"setups/{name}/{p}/spearman"] for p in skeletons.NAMES) >= 0.95
    ]
    cost = {name: results[f"setups/{name}/seconds_each"] for name in agreeing}
    assert results["cheapest"] == min(cost, key=cost.get)
    page = (folder / "report.md").read_text()
    assert "itself again" in page and f"**{results['cheapest']}**" in page
