"""The predictor of trained accuracy: its arrays are the fitted model, and survive their file."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import run
from nasgen.benchmarks.fitness import nearest_bands
from nasgen.models import accuracy
from nasgen.models.accuracy import SCORES
from nasgen.networks import features, topology
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import accuracy_fit
from nasgen.pipeline.accuracy_fit import FITS, OUTSIDE, read_rows
from nasgen.pipeline.fitness import predicted_accuracies
from nasgen.pretrained.bundle import load_accuracy, save_accuracy
from nasgen.types import Architecture, MacroArchitecture, Stage, Task
from tests.networks.test_walks import CELLS, OPEN

pandas = pytest.importorskip("pandas")
KNOWN = (*features.NAMES, *topology.NAMES)
TASK = Task("toy", (8, 8, 1), 10)


@pytest.fixture(scope="module")
def frame():
    """Made-up networks whose accuracy falls with depth and rises with a score, more so later."""
    rng, num = np.random.default_rng(0), 160
    table = {f"feature_{name}": rng.uniform(1, 5, num) for name in KNOWN}
    table |= {f"proxy_{name}": rng.uniform(1, 5, num) for name in SCORES}
    table["feature_layers"] = np.full(num, 20.0)
    depth = table["feature_depth"]
    for steps, weight in ((10, 1.0), (40, 2.0)):
        logit = -depth + weight * table["proxy_zen"] + 0.05 * rng.normal(size=num)
        table[f"accuracy_{steps}"] = 1 / (1 + np.exp(-(logit - logit.mean()) / 2))
    table |= {n: rng.integers(10, 99, num) for n in ("params", "macs")}
    table |= {"depth": depth, "band": np.arange(num) % 2, "score_batch": np.full(num, 16)}
    table |= {"seed": np.zeros(num, int), "long": np.zeros(num, bool)}
    table["origin"] = np.full(num, "random")
    table["task"] = np.where(np.arange(num) % 4 < 2, "digits", "cifar10")
    table["architecture"] = [str(i) for i in range(num)]
    made = pandas.DataFrame(table)
    again = made.iloc[:8].assign(seed=1)
    again["accuracy_40"] = again["accuracy_40"] * 0.99
    return pandas.concat([made, again], ignore_index=True)


@pytest.fixture(scope="module")
def table(frame, tmp_path_factory):
    pytest.importorskip("pyarrow")
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    frame.to_parquet(path)
    return path


def test_rows_are_standardised_and_twins_are_averaged(frame):
    rows = read_rows(frame)
    assert len(rows.target) == 320 and len(np.unique(rows.network)) == 160
    for task in ("digits", "cifar10"):
        for steps in (10, 40):
            group = rows.target[(rows.task == task) & (rows.steps == steps)]
            assert abs(group.mean()) < 1e-6 and abs(group.std() - 1) < 1e-6
    assert rows.names[0] == "log_steps" and set(np.exp(rows.x[:, 0]).round()) == {10, 40}
    late = rows.accuracy[rows.steps == 40]
    assert late[0] == pytest.approx(0.995 * frame["accuracy_40"][0])


def test_who_costs_less_than_every_band_is_in_no_group(frame):
    rows = read_rows(frame)
    rows = rows._replace(band=np.where(rows.network < 40, OUTSIDE, rows.band))
    members = np.concatenate(list(accuracy_fit.groups(rows).values()))
    assert sorted(members) == np.flatnonzero(rows.network >= 40).tolist()


def test_what_lies_in_no_band_goes_with_the_nearest_of_its_task(frame):
    """digits: bands of 20 and 80 params; CIFAR-10: none at all."""
    rows = read_rows(frame)
    params = np.where(rows.network % 3 == 0, 20.0, np.where(rows.network % 3 == 1, 80.0, 25.0))
    band = np.where((rows.network % 3 == 2) | (rows.task == "cifar10"), OUTSIDE, rows.network % 3)
    columns = {**rows.columns, "params": params, "macs": 10 * params}
    found = nearest_bands(rows._replace(band=band, columns=columns))
    digits = rows.task == "digits"
    assert (found[digits] == (rows.network % 3 == 1)[digits]).all()
    assert (found[~digits] == OUTSIDE).all()


@pytest.mark.parametrize("name", FITS)
def test_a_fit_finds_what_is_there_and_forgets_what_it_may_not_see(frame, name):
    rows = read_rows(frame)
    assert accuracy_fit.cross_validated(rows, FITS[name], folds=4, seed=0) > 0.7
    shuffled = rows._replace(x=np.random.default_rng(0).permutation(rows.x))
    assert abs(accuracy_fit.cross_validated(shuffled, FITS[name], folds=4, seed=0)) < 0.3


def test_trees_are_those_of_scikit_learn(frame, monkeypatch):
    from sklearn.ensemble import GradientBoostingRegressor

    kept = []
    fit = GradientBoostingRegressor.fit
    keep = lambda self, x, y: kept.append((self, x)) or fit(self, x, y)  # noqa: E731
    monkeypatch.setattr(GradientBoostingRegressor, "fit", keep)
    rows = read_rows(frame)
    predictor = accuracy_fit.fit_trees(rows)
    ((model, z),) = kept
    np.testing.assert_allclose(accuracy.predict(predictor, rows.x), model.predict(z), atol=1e-6)


def test_arrays_survive_their_file(frame, tmp_path):
    rows = read_rows(frame)
    both = [rows, accuracy_fit.without_scores(rows)]
    saved = accuracy.Accuracy(*map(accuracy_fit.fit_both, both))
    save_accuracy(tmp_path / "accuracy", saved, {"what": "a test"})
    for one, predictor, loaded in zip(both, saved, load_accuracy(str(tmp_path)), strict=True):
        assert loaded.names == predictor.names == one.names
        guess = [accuracy.predict(of, one.x) for of in (predictor, loaded)]
        np.testing.assert_allclose(*guess, atol=0.05)  # float32: a threshold may fall otherwise
        assert np.median(np.abs(guess[0] - guess[1])) < 1e-5
    assert not set(saved.unscored.names) & set(accuracy.SCORES)
    (tmp_path / "accuracy.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="are damaged"):
        load_accuracy(str(tmp_path))


def test_inputs_that_are_not_finite_count_as_the_mean(frame):
    rows = read_rows(frame)
    predictor = accuracy_fit.fit_both(rows)
    broken, mean = rows.x[:3].copy(), rows.x[:3].copy()
    broken[:, 5], mean[:, 5] = np.nan, predictor.mean[5]
    found, wanted = (accuracy.predict(predictor, x) for x in (broken, mean))
    np.testing.assert_allclose(found, wanted)


def test_the_fitness_is_a_function_of_plans_and_images(frame):
    rows = read_rows(frame)
    predictor = accuracy_fit.fit_both(rows)
    macros = [MacroArchitecture((Stage(0, c, 1, 1), Stage(0, 16, 2, 1)), 16) for c in (8, 16)]
    plans = [make_plan(Architecture(one, CELLS[1:]), OPEN.ops, TASK) for one in macros]
    rng = np.random.default_rng(0)
    images = rng.normal(size=(6, 8, 8, 1)).astype(np.float32)
    data = TASK, images, np.arange(6, dtype=np.int32), jax.random.key(0)
    both = predicted_accuracies(predictor, plans, *data, (20,))[:, 0]
    one = predicted_accuracies(predictor, plans[1:], *data, (20,))[:, 0]
    assert np.isfinite(both).all() and both[0] != both[1]
    assert one[0] == pytest.approx(both[1], abs=1e-12)
    later = predicted_accuracies(predictor, plans, *data, (2_000,))[:, 0]
    assert not np.array_equal(both, later)
    assert predicted_accuracies(predictor, [], *data, (20,))[:, 0].shape == (0,)
    other = TASK._replace(num_classes=3)
    with pytest.raises(ValueError, match="`plans` must be for images"):
        predicted_accuracies(predictor, plans, other, *data[1:], (20,))


def _command(name: str, folder, *more: str) -> list[str]:
    file = Path(__file__).resolve().parents[2] / "experiments" / "configs" / f"{name}.py"
    more = (*more, "--config.compilation_cache=false")
    return ["run.py", f"--config={file}", f"--workdir={folder}", *more]


@pytest.fixture(scope="module")
def fitted(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("accuracy") / "fit"
    assert run.main(_command("pretrain_accuracy", folder, f"--config.table={table}")) == 0
    return folder


def _bench(table, folder, **proof):
    small = {"table": table, "bootstrap": 50, **{f"proof.{n}": v for n, v in proof.items()}}
    more = [f"--config.{name}={value}" for name, value in small.items()]
    assert run.main(_command("bench_fitness", folder, *more)) == 0
    return json.loads((folder / "results.json").read_text()), (folder / "report.md").read_text()


def test_the_fit_as_a_user_types_it(fitted):
    results = json.loads((fitted / "results.json").read_text())
    assert results["fit"] in FITS and results["num_networks"] == 160
    assert results["cross_validated/unscored/spearman"] > 0.3
    assert load_accuracy(str(fitted)).scored.names[0] == "log_steps"


def test_the_benchmark_as_a_user_types_it(table, tmp_path):
    results, page = _bench(table, tmp_path / "bench", num_seeds=0)
    for held in ("held_out_band", "held_out_data"):
        for name in ("predicted_accuracy", "depth", "params", "macs", "zen", "t_cet"):
            low, value, high = (
                results[f"{held}/{name}/spearman{end}"] for end in ("_low", "", "_high")
            )
            assert -1 <= low <= value <= high <= 1
        assert results[f"{held}/predicted_accuracy/spearman"] > 0.5
        assert results[f"{held}/depth/spearman"] < -0.2
    assert results["by_steps/digits/40/depth/spearman"] < 0
    assert 0 < results["noise/cifar10/seed_deviation"] < results["noise/cifar10/band_deviation"]
    assert "| predicted_accuracy |" in page and "## Noise" in page
    frame = pandas.read_parquet(table)
    first = frame[(frame["task"] == "digits") & (frame["band"] == 1)]["accuracy_40"][:40]
    found = {n: results[f"rounds/digits/40/random_0/{n}"] for n in ("mean", "best", "num")}
    assert found == pytest.approx({"mean": first.mean(), "best": first.max(), "num": 40})


@pytest.mark.slow
def test_the_proof_as_a_user_types_it(table, fitted, tmp_path):
    proof = dict(num_seeds=1, task="digits", accuracy=fitted, num_exact=4, num_proposals=16)
    proof |= dict(params=5_000, macs=200_000, score_batch=8, num_train=64, num_test=50)
    results, page = _bench(table, tmp_path / "bench", steps="(2,)", batch_size=8, warmup=1, **proof)
    own = results["generate/test_accuracy/all"]
    for method in ("random", "random_search", "evolution", "generate"):
        assert 0 <= results[f"{method}/test_accuracy/median"] <= 1
        assert len(results[f"{method}/test_accuracy/all"]) == 1
        if method != "generate":
            gained = own[0] - results[f"{method}/test_accuracy/all"][0]
            assert results[f"generate/over/{method}/mean"] == pytest.approx(gained)
    assert results["generate/fitness/median"] != results["random/fitness/median"]
    assert "| evolution |" in page


def test_a_table_that_is_none_is_one_line(tmp_path, capsys):
    for name in ("pretrain_accuracy", "bench_fitness"):
        command = _command(name, tmp_path / "run", "--config.table=nowhere.parquet")
        assert run.main(command) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "`config.table` must be a Parquet file" in line
        assert not (tmp_path / "run").exists()
