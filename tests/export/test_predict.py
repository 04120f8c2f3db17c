"""`predict.py` of an exported folder: pictures and arrays in, classes and probabilities out."""

import importlib.util
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from nasgen.data.images import Form, pixels
from nasgen.networks.network import Network
from nasgen.networks.plans.open import make_plan
from nasgen.spaces.open import OPS
from nasgen.types import Architecture, MacroArchitecture, Stage, Task
from tests.export.small import (
    CHAIN,
    WITHOUT_NASGEN,
    export_small,
    run_alone,
    variables_of,
)

NAMES = ("cat", "big dog", "emu", "fox", "gnu", "hen")
FORM = Form(8, 9, 3)
TASK = Task("pets", tuple(FORM), len(NAMES), class_names=NAMES)
MEAN, STD = np.float32([120, 110, 100]), np.float32([60, 61, 62])
ARCHITECTURE = Architecture(MacroArchitecture((Stage(0, 8, 2, 1),), 16), (CHAIN,))


@pytest.fixture(scope="module", autouse=True)
def _lenient_ranks():
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("predict") / "network"
    plan = make_plan(ARCHITECTURE, OPS, TASK)
    form = {"mean": MEAN.tolist(), "std": STD.tolist(), "white": 255.0}
    changes = {"architecture": ARCHITECTURE, "task": TASK, "preprocess": form}
    export_small(folder, plan, variables_of(plan), **changes)
    return folder


def _probabilities(images) -> np.ndarray:
    plan = make_plan(ARCHITECTURE, OPS, TASK)
    x = (np.stack(images) - MEAN) / STD
    return np.asarray(jax.nn.softmax(jax.jit(Network(plan).apply)(variables_of(plan), x)))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, np.ndarray]:
    """Pictures of several kinds and arrays, and what raw images they must become."""
    where, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (31, 20, 3), np.uint8))
    deep = Image.fromarray(rng.integers(0, 2**16, (12, 14), np.uint16))
    pictures = {
        "colour photo.png": (colour, {}),
        "jpeg.jpg": (colour, {"quality": 95}),
        "grey.png": (colour.convert("L"), {}),
        "palette.png": (colour.convert("P"), {}),
        "clear.png": (colour.convert("RGBA"), {}),
        "deep.png": (deep, {}),
    }
    raw = {}
    for name, (image, options) in pictures.items():
        image.save(where / name, **options)
        raw[str(where / name)] = pixels(Image.open(where / name), FORM)[None]
    lying = Image.Exif()
    lying[0x0112] = 6
    colour.save(where / "turned.jpg", exif=lying)
    raw[str(where / "turned.jpg")] = pixels(Image.open(where / "turned.jpg"), FORM)[None]
    arrays = rng.uniform(0, 255, (3, *FORM)).astype(np.float32)
    np.save(where / "one.npy", arrays[0])
    np.save(where / "bytes.npy", arrays.astype(np.uint8))
    np.savez(where / "pair.npz", x=arrays[1:], y=np.zeros(2))
    raw[str(where / "one.npy")] = arrays[:1]
    raw[str(where / "bytes.npy")] = arrays.astype(np.uint8).astype(np.float32)
    raw[str(where / "pair.npz")] = arrays[1:]
    return raw


# As the command runs it.
ALONE = (
    WITHOUT_NASGEN
    + """
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
)


def test_all_kinds_of_files_in_an_environment_without_nasgen(folder, files, tmp_path):
    done = run_alone("-c", ALONE, str(folder / "predict.py"), *files, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = _probabilities(np.concatenate([*files.values()]))
    titles = []
    for name, images in files.items():
        single = len(images) == 1
        titles += [name] if single else [f"{name}[{index}]" for index in range(len(images))]
    lines = done.stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == titles
    assert len({line.split("\t")[1] for line in lines}) > 1  # not one answer for everything
    for line, odds in zip(lines, expected, strict=True):
        found = [field.rsplit(" ", 1) for field in line.split("\t")[1:]]
        best = np.argsort(-odds)[:5]
        assert [name for name, _ in found] == [NAMES[label] for label in best]
        np.testing.assert_allclose([float(p) for _, p in found], odds[best], atol=6e-5)


@pytest.fixture
def command(folder):
    """The script as a module, so that nothing is started."""
    spec = importlib.util.spec_from_file_location("predict", folder / "predict.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _bad(tmp_path) -> dict[str, str]:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    np.save(tmp_path / "shape.npy", np.zeros((2, 5, 5, 3)))
    np.save(tmp_path / "nan.npy", np.full(tuple(FORM), np.nan))
    np.save(tmp_path / "objects.npy", np.array([{}, 1], object), allow_pickle=True)
    np.savez(tmp_path / "names.npz", a=np.zeros(3), b=np.zeros(3))
    return {
        "text.png": "no picture that can be read",
        "cut.npz": "no array of images that can be read",
        "shape.npy": "must hold images [8, 9, 3] or several; got [2, 5, 5, 3]",
        "nan.npy": "must hold finite numbers",
        "objects.npy": "no array of images that can be read",
        "names.npz": "no array of images that can be read",
        "nowhere.png": "is no file",
    }


def test_bad_files_are_one_line(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "model", None)  # never imported for them
    for name, says in _bad(tmp_path).items():
        assert command.main([str(tmp_path / name)]) == 2
        out, err = capsys.readouterr()
        (line,) = err.strip().splitlines()
        assert line.startswith("error: ") and name in line and says in line and not out
    assert command.main([]) == command.main(["--help"]) == 2
    assert "usage: python predict.py FILE..." in capsys.readouterr().err


def test_a_damaged_description_is_one_line(command, files, tmp_path):
    for text in ("{", "{}", json.dumps({"input_shape": 3})):
        (tmp_path / "preprocess.json").write_text(text)
        with pytest.raises(ValueError, match=r"preprocess.json is damaged \(\w+: .*\)\."):
            command.read_form(tmp_path / "preprocess.json")


def test_pictures_are_refused_where_their_values_mean_nothing(command, files):
    form = {**command.read_form(), "scale": None}
    with pytest.raises(ValueError, match="trained on arrays whose values pictures do not have"):
        command.read_images(next(iter(files)), form)


def test_scale_makes_pixels_raw(command, files):
    picture = next(iter(files))
    digits = command.read_images(picture, {**command.read_form(), "scale": 16 / 255})
    np.testing.assert_allclose(digits, files[picture] * 16 / 255, rtol=1e-6)
