"""The scoring benchmark: what it warms up suffices; it runs without PyTorch and says so."""

import json

import jax
import numpy as np
import pytest

from experiments.configs import bench_lowerings, bench_scoring
from nasgen.benchmarks import lowerings, reference, scoring
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.config import UserError
from nasgen.pipeline.workdir import RESULTS, close_workdir, open_workdir
from nasgen.proxies.passes import signatures
from nasgen.spaces import graphs
from nasgen.types import Architecture, MacroArchitecture, Stage, Task


def small_config():
    config = bench_scoring.get_config()
    config.num_networks, config.rounds, config.batch, config.size = 2, 2, 4, 4
    config.skeleton.channels, config.skeleton.strides = (8,), (2,)
    config.skeleton.final_width = 8
    return config


def run(pipeline, config, folder) -> dict:
    workdir = open_workdir(folder, config)
    pipeline(config, workdir)
    close_workdir(workdir)
    return json.loads((workdir.path / RESULTS).read_text())


def test_new_cells_need_no_program_beyond_the_warm_up():
    stages = (Stage(0, 8, 1, 1), Stage(0, 16, 2, 1), Stage(0, 16, 1, 1))

    def needed(cells):
        networks = (Architecture(MacroArchitecture(stages, 24), (cell,) * 3) for cell in cells)
        plans = [make_plan(one, scoring.OPEN.ops, Task("toy", (8, 8, 3), 5)) for one in networks]
        needs = ("gradients", "agreements")
        return {signature for plan in plans for signature in signatures(plan, needs, 4)}

    cells = graphs.unpack(scoring.OPEN.sample(jax.random.key(0), 300))
    assert not needed(cells) - needed(scoring.warmup_cells())


def test_it_runs_without_the_reference(tmp_path, monkeypatch):
    monkeypatch.setenv("NASGEN_REFERENCE", str(tmp_path))
    results = run(scoring.run, small_config(), tmp_path / "run")
    assert results["compiles_after_warmup"] == 0 and results["programs"] >= 0
    assert results["architectures_per_second"] > 0 and results["peak_memory_mb"] > 0
    assert "config.reference_python" in results["skipped"] and "ratio_vs_torch" not in results
    assert "NASGEN_REFERENCE" in results["one_gmac/skipped"]


def test_rows_become_ratios():
    rows = [
        dict(seconds=s, params=7, snip_snr=2.0, nwot_layers=3.0, torch_seconds=2 * s)
        | dict(torch_seconds_bare=s, torch_params=7, torch_snip_snr=2.0, torch_nwot_layers=3.3)
        | dict(torch_peak_memory_mb=100 * s)
        for s in (1.0, 2.0, 9.0)
    ]
    figures = scoring._summary(rows)
    assert figures["ratio_vs_torch"] == 2 and figures["ratio_vs_torch_bare"] == 1
    assert figures["architectures_per_second"] == 0.5
    assert figures["torch_architectures_per_second"] == 0.25
    assert figures["torch_peak_memory_mb"] == 900
    np.testing.assert_allclose(figures["relative_difference/nwot_layers"], 0.3 / 3.3)
    rows[0]["torch_params"] = 8
    with pytest.raises(RuntimeError, match="other params"):
        scoring._summary(rows)


def test_a_python_without_the_reference_is_refused():
    with pytest.raises(UserError, match="config.reference_python.*pip install.*No such file"):
        reference.check_python("/nowhere/python")


def test_lowerings_make_a_table(tmp_path):
    config = bench_lowerings.get_config()
    config.batch, config.sizes, config.channels, config.rounds = 2, (4,), (3,), 1
    results = run(lowerings.run, config, tmp_path / "run")
    times = results["depthwise/kernel 3/stride 1/dilation 2/4x4x3/backward"]
    assert times["native_ms"] > 0 and times["chosen_ms"] > 0
    lines = (tmp_path / "run" / "lowerings.md").read_text().splitlines()
    assert len(lines) == 2 + 19 and all(line.count("|") == 8 for line in lines)
