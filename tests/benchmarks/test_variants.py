"""Variants of the first level, each with a second level of its own, at tiny size."""

import json

import numpy as np
import pytest

from experiments import run
from experiments.configs import bench_variants
from nasgen.benchmarks import variants
from nasgen.pipeline.workdir import close_workdir, open_workdir
from nasgen.pretrained.bundle import load_bundle
from tests.pipeline.test_pretrain_macro import small_config as small_macro

SMALL = dict(num_exact=4, num_proposals=16, score_batch=8, num_train=64, num_test=40)
SMALL |= dict(steps=(1,), batch_size=8, warmup=1, flip=False, bootstrap=20, plots=False)


def small_config():
    """The published config with small numbers: the shipped cells, and two components."""
    config = bench_variants.get_config()
    config.num_mixture_cells = 300
    config.names = ("chosen", "components_2")
    with config.unlocked():
        config.variants.components_2 = bench_variants.variant("open", 2)
        del config.variants.no_metric_loss, config.variants.other_seed
    config.macro = small_macro("open")
    config.trained.task.name, config.trained.num_seeds = "digits", 2
    config.trained.budget.update(params=20_000, macs=600_000)
    config.trained.update(SMALL)
    config.trained.methods.generate.update(batch=2, generations=1, edits=4)
    return config


def test_a_variant_without_weights_is_one_line(tmp_path, capsys):
    command = ["run.py", "--config=experiments/configs/bench_variants.py"]
    command += [f"--workdir={tmp_path / 'run'}", "--config.variants.chosen.cells=nowhere"]
    assert run.main(command) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "`config.variants.chosen.cells`" in line and "nowhere" in line
    assert not (tmp_path / "run").exists()


def test_what_is_trained_must_be_nasgens(tmp_path, capsys):
    command = ["run.py", "--config=experiments/configs/bench_variants.py"]
    command += [f"--workdir={tmp_path / 'run'}", "--config.names=('chosen',)"]
    assert run.main([*command, "--config.trained.entrants=('random',)"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "`config.trained.entrants` must name nasgen" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_variants_from_cells_to_accuracies(tmp_path):
    workdir = open_workdir(tmp_path / "run", small_config())
    variants.run(small_config(), workdir)
    close_workdir(workdir)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    both = [np.mean(results[f"{n}/test_accuracy/all"], 1) for n in ("chosen", "components_2")]
    assert results["over/components_2/mean"] == pytest.approx((both[0] - both[1]).mean())
    for name, number in (("chosen", 32), ("components_2", 2)):
        bundle = load_bundle(str(tmp_path / "run" / name / "macro"))
        assert len(bundle.cells.mixture.weights) == number
        assert bundle.macro_config.vocabulary.num_clusters == number
