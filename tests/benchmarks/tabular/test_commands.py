"""The other tabular benchmarks by their commands, at tiny size.

Of NAS-Bench-101 the cells of at most three ops (an edit of which is another) take the place of all;
the generator of TransNAS-Bench-101's cells, which is not shipped, has weights that nobody trained.
NAS-Bench-201 stands in `test_run`.
"""

import json

import jax
import pytest

from experiments import run
from nasgen.benchmarks import tables
from nasgen.benchmarks.tabular import BENCHMARKS, sequence_writer
from nasgen.benchmarks.tabular.writer import Refit
from nasgen.data.folder import VARIABLE
from nasgen.models import graph_vae
from nasgen.pretrained.bundle import load_cells, save_cells
from nasgen.spaces import SPACES, nb101
from tests.conftest import ROOT

TINY = (
    "--config.seeds=(0,1)",
    "--config.queries=8",
    "--config.marks=(1,8)",
    "--config.nasgen.draws=32",
    "--config.nasgen.mutants=8",
    "--config.nasgen.steps=2",
    "--config.nasgen.sample=64",
    "--config.methods=('nasgen','surrogate','random','evolution','proxy_params','proxy_nwot')",
    "--config.plots=false",
)


def _small_nb101(data, folder, monkeypatch):
    """A folder with the small cells alone, of which edits stay small."""
    pandas = pytest.importorskip("pandas")
    monkeypatch.setattr(nb101, "MAX_OPS", 3)
    frame = pandas.read_parquet(data / tables.NB101)
    frame = frame[frame["n"] <= 3 + 2]
    sample = pandas.read_parquet(data / tables.NB101_CURVES)
    sample = sample[sample["row"].isin(frame.index)]
    sample = sample.assign(row=frame.index.get_indexer(sample["row"]))
    frame.to_parquet(folder / tables.NB101)
    sample.to_parquet(folder / tables.NB101_CURVES)
    monkeypatch.setenv(VARIABLE, str(folder))


def _untrained_transnas(folder):
    """Weights of the shipped bundle of NAS-Bench-201, but for those that see ops."""
    shipped, space = load_cells("nb201"), SPACES["transnas_micro"]
    config = shipped.vae_config._replace(rules=space.rules)
    vae = graph_vae.init(jax.random.key(0), config)
    bundle = shipped._replace(space=space.name, vae=vae, vae_config=config)
    save_cells(folder / "cells", bundle, {})


@pytest.mark.parametrize(
    ("config", "name", "data_sets"),
    [
        ("bench_nb101", "nb101", ("cifar10",)),
        ("bench_macro", "nb_macro", ("cifar10",)),
        ("bench_transnas", "transnas_micro", ("class_scene", "jigsaw")),
    ],
)
def test_command(shared_data, tmp_path, monkeypatch, config, name, data_sets):
    for file in BENCHMARKS[name].files:
        if not (shared_data / file).is_file():
            pytest.skip(f"needs {file} in {shared_data}")
    monkeypatch.setenv(VARIABLE, str(shared_data))
    monkeypatch.setattr(sequence_writer, "_PRETRAINING", Refit(steps=2, batch_size=8))
    options = [*TINY, f"--config.data_sets={data_sets}"]
    if name == "nb101":
        _small_nb101(shared_data, tmp_path, monkeypatch)
    if name == "transnas_micro":
        _untrained_transnas(tmp_path)
        options.append(f"--config.pretrained={tmp_path}")
    BENCHMARKS[name].load.cache_clear()
    folder = tmp_path / "run"
    try:
        command = [
            "run.py",
            f"--config={ROOT}/experiments/configs/{config}.py",
            f"--workdir={folder}",
        ]
        assert run.main([*command, *options]) == 0
    finally:
        BENCHMARKS[name].load.cache_clear()
    results = json.loads((folder / "results.json").read_text())
    for data_set in data_sets:
        best = results[f"optimum/{data_set}"]
        for method in ("nasgen", "surrogate", "random", "evolution", "proxy_params"):
            first, last = (results[f"{method}/{data_set}/test_at/{n}/mean"] for n in (1, 8))
            assert first <= best and last <= best
        assert (f"proxy_nwot/{data_set}/test_at/8/mean" in results) == (name != "nb_macro")
    assert {f"nasgen/{x}_at_8" for x in ("mean_rank", "seeds_with_best")} <= set(results)
    page = (folder / "report.md").read_text()
    assert page.startswith(f"# {name}") and "most parameters first" in page
    assert ("read off a cell's latent" in page) == (name != "nb_macro")
