"""A byte flipped, a file cut off or gone: it is seen and named, and no wrong value is read. Of
checkpoints: `tests/training/test_checkpoint.py`."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from safetensors.numpy import load, save

from nasgen import pretrained
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.workdir import (
    close_workdir,
    damaged_files,
    is_finished,
    open_workdir,
    save_arrays,
    write_json,
    write_results,
)
from nasgen.pretrained import bundle
from tests.data.bomb import Bomb

FLIPS = 25
SHIPPED = [(part, name) for part in pretrained.PARTS for name in pretrained.shipped(part)]


def damages(whole: bytes):
    """The content with one bit flipped, at so many places, cut off, and (None) gone."""
    rng = np.random.default_rng(0)
    for position in (0, len(whole) - 1, *rng.integers(0, len(whole), FLIPS - 2)):
        altered = bytearray(whole)
        altered[position] ^= 1 << int(rng.integers(8))
        yield bytes(altered)
    yield whole[: len(whole) // 2]
    yield None


@pytest.mark.parametrize(("part", "name"), SHIPPED)
@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_damage_to_shipped_weights_is_seen(part, name, suffix, tmp_path, monkeypatch):
    for one in ("safetensors", "json"):
        shutil.copy(pretrained.FOLDER / f"{part}_{name}.{one}", tmp_path)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    path = tmp_path / f"{part}_{name}.{suffix}"
    whole = path.read_bytes()
    for content in damages(whole):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        named = path.name if content is not None else f"got '{name}'"
        with pytest.raises(ValueError, match=named) as error:
            bundle._load(name, part, lambda arrays, card: None)
        assert "\n" not in str(error.value)
    path.write_bytes(whole)
    assert bundle._load(name, part, lambda arrays, card: "read") == "read"


def test_a_card_of_ones_own_that_was_changed_is_refused(tmp_path):
    for one in ("safetensors", "json"):
        shutil.copy(pretrained.FOLDER / f"accuracy_open.{one}", tmp_path / f"accuracy.{one}")
    card = json.loads((tmp_path / "accuracy.json").read_text())
    (tmp_path / "accuracy.json").write_text(json.dumps({**card, "seed": 17}))
    with pytest.raises(ValueError, match="accuracy.json are damaged"):
        bundle.load_accuracy(str(tmp_path))
    del card[pretrained.SEAL]  # as earlier versions wrote it
    (tmp_path / "accuracy.json").write_text(json.dumps(card))
    assert bundle.load_accuracy(str(tmp_path))


def other_shape(arrays):
    first = min(name for name in arrays if name.startswith("vae/"))
    return save({**arrays, first: np.zeros((3, 5, 7), np.float16)})


def one_less(arrays):
    del arrays["tolerances/values"]
    return save(arrays)


FOREIGN = {  # whole files, with their own hashes, that are no such weights
    "another shape": other_shape,
    "an array less": one_less,
    "cut off": lambda arrays: save(arrays)[:-9],
    "a huge header": lambda arrays: (2**62).to_bytes(8, "little") + save(arrays)[8:],
    "a pickle": lambda arrays: pickle.dumps(Bomb()),
    "nothing": lambda arrays: b"",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_weights_that_are_none_are_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setenv("NASGEN_BOMB", str(tmp_path / "executed"))
    own = Path(__file__).parent / "versions" / "0.1.0" / "weights"
    weights = FOREIGN[name](load((own / "cells.safetensors").read_bytes()))
    card = json.loads((own / "cells.json").read_text())
    card = pretrained.sealed({**card, "sha256": hashlib.sha256(weights).hexdigest()})
    (tmp_path / "cells.safetensors").write_bytes(weights)
    (tmp_path / "cells.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="cells.safetensors are damaged") as error:
        bundle.load_cells(str(tmp_path))
    assert "\n" not in str(error.value) and not (tmp_path / "executed").exists()


def small_run(folder: Path) -> list[str]:
    """Two stages and results; the names of the stages that had to work."""
    workdir, worked = open_workdir(folder, ConfigDict({"seed": 0})), []
    rng = np.random.default_rng(0)

    def sample():
        worked.append("sample")
        (folder / "cells").mkdir(exist_ok=True)
        write_json(folder / "cells" / "names.json", ["a", "b"])
        save_arrays(folder / "cells.npz", x=rng.normal(size=50))
        return {"num": 50}

    def score():
        worked.append("score")
        with np.load(folder / "cells.npz") as file:
            save_arrays(folder / "scores.npz", scores=file["x"] ** 2)

    if not workdir.finished:
        stages = [
            Stage("sample", ("cells", "cells.npz"), sample),
            Stage("score", ("scores.npz",), score),
        ]
        run_stages(workdir, stages)
        write_results(workdir, read_stage(folder, "sample") | {"seconds": 1.0})
    close_workdir(workdir)
    return worked


FIRST = ("cells/names.json", "cells.npz", "stage_sample.json", "stages/sample.json")
SECOND = ("scores.npz", "stage_score.json", "stages/score.json")
RESULTS = ("results.json", "stages/results.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert small_run(folder) == ["sample", "score"]
    made = {one.relative_to(folder).as_posix() for one in folder.rglob("*.*")}
    assert made == {*FIRST, *SECOND, *RESULTS, "config.json", "env.json"}
    return folder


@pytest.mark.parametrize("name", [*FIRST, *SECOND, *RESULTS])
def test_damage_to_what_a_run_wrote_is_seen_and_mended(finished, name, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    is_manifest = name.startswith("stages/")
    stage = Path(name).stem if is_manifest else "sample" if name in FIRST else "score"
    for content in damages((finished / name).read_bytes()):
        (folder / name).unlink(missing_ok=True)
        if content is not None:
            (folder / name).write_bytes(content)
        if is_manifest and content is None:
            continue  # without a manifest a stage is not done
        assert not is_finished(folder)
        if name != "results.json":
            assert is_manifest or damaged_files(folder, stage) == (name,)
    if is_manifest:
        (folder / name).write_text("{")
    worked = {FIRST: ["sample", "score"], SECOND: ["score"], RESULTS: []}
    assert small_run(folder) == next(work for names, work in worked.items() if name in names)
    assert (f"damaged or missing: {name};" in capsys.readouterr().err) == (name not in RESULTS)
    assert is_finished(folder)
    for other in ("cells.npz", "scores.npz", "cells/names.json"):
        assert (folder / other).read_bytes() == (finished / other).read_bytes()
