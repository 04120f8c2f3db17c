"""`predict.py` of an exported folder: files in; what the kind of the task has, out."""

import importlib.util
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from nasgen.data.images import Form, pixels
from nasgen.data.series import from_series
from nasgen.export import predict
from nasgen.export.preprocessing import form
from nasgen.networks.network import Network
from nasgen.networks.plans.open import make_plan
from nasgen.spaces.open import OPS
from nasgen.types import KINDS, Architecture, MacroArchitecture, Stage, Task
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
    clear = colour.copy()
    clear.putalpha(Image.fromarray(rng.integers(0, 256, (31, 20), np.uint8)))
    pictures = {
        "colour photo.png": (colour, {}),
        "jpeg.jpg": (colour, {"quality": 95}),
        "grey.png": (colour.convert("L"), {}),
        "palette.png": (colour.convert("P"), {}),
        "opaque.png": (colour.convert("RGBA"), {}),
        "clear.png": (clear, {}),
        "grey clear.png": (clear.convert("LA"), {}),
        "one clear colour.png": (colour.convert("P"), {"transparency": 0}),
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
    Image.new("RGB", (9, 8)).save(tmp_path / "other.png", format="GIF")  # not trained on either
    noise = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "torn.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "torn.png").read_bytes()[:120])
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    np.save(tmp_path / "shape.npy", np.zeros((2, 5, 5, 3)))
    np.save(tmp_path / "nan.npy", np.full(tuple(FORM), np.nan))
    np.save(tmp_path / "objects.npy", np.array([{}, 1], object), allow_pickle=True)
    np.savez(tmp_path / "names.npz", a=np.zeros(3), b=np.zeros(3))
    return {
        "text.png": "neither PNG nor JPEG by its content",
        "other.png": "neither PNG nor JPEG by its content",
        "torn.png": "no picture that can be read",
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
    form = json.loads((command.FOLDER / "preprocess.json").read_text())
    for text in ("{", "{}", json.dumps({"input_shape": 3}), json.dumps({**form, "kind": "odd"})):
        (tmp_path / "preprocess.json").write_text(text)
        with pytest.raises(ValueError, match=r"preprocess.json is damaged \(\w+: .*\)\."):
            command.read_form(tmp_path / "preprocess.json")


def test_pictures_are_refused_where_their_values_mean_nothing(command, files):
    form = {**command.read_form(), "scale": None}
    with pytest.raises(ValueError, match="trained on arrays whose values pictures do not have"):
        command.read(next(iter(files)), form)


def test_scale_makes_pixels_raw(command, files):
    picture = next(iter(files))
    digits = command.read(picture, {**command.read_form(), "scale": 16 / 255}).raw
    np.testing.assert_allclose(digits, files[picture] * 16 / 255, rtol=1e-6)


# ---- other kinds --------------------------------------------------------------------------------

# Stands for a network of any kind: its logits are sums of channels, in the contract's shape.
MODEL = """
import numpy as np

def load():
    return np.float32({weights})

def logits(variables, x):
    x = np.asarray(x)
    pooled = x if {dense} else x.mean(tuple(range(1, x.ndim - 1)))
    return pooled @ variables
"""


@pytest.fixture
def handed(tmp_path):
    """Makes a folder with `predict.py` as it is copied, for a task and weights [channels,
    outputs]."""

    def make(task: Task, weights, **options) -> Path:
        folder = tmp_path / "network"
        folder.mkdir()
        dense = task.kind in ("segmentation", "dense_regression")
        (folder / "model.py").write_text(MODEL.format(weights=weights, dense=dense))
        (folder / "predict.py").write_text(Path(predict.__file__).read_text())
        channels = task.input_shape[-1]
        described = form(task, mean=[0.0] * channels, std=[1.0] * channels, **options)
        (folder / "preprocess.json").write_text(json.dumps(described))
        return folder

    return make


def _told(folder: Path, *files, cwd: Path) -> list[list[str]]:
    done = run_alone("-c", ALONE, str(folder / "predict.py"), *map(str, files), cwd=cwd)
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def _task(kind: str, shape, num: int, names=()) -> Task:
    return Task("made", shape, num, kind, KINDS[kind].metric, KINDS[kind].loss, class_names=names)


@pytest.mark.parametrize("kind", ["multi_label", "regression"])
def test_real_networks_of_other_kinds(kind, tmp_path):
    task = _task(kind, tuple(FORM), 2, ("tail", "wings") if kind == "multi_label" else ())
    plan = make_plan(ARCHITECTURE, OPS, task)
    described = {"mean": MEAN.tolist(), "std": STD.tolist(), "white": 255.0}
    changes = {"architecture": ARCHITECTURE, "task": task, "preprocess": described, "card": {}}
    export_small(tmp_path / "network", plan, variables_of(plan), **changes)
    raw = np.random.default_rng(0).uniform(0, 255, (3, *FORM)).astype(np.float32)
    np.save(tmp_path / "x.npy", raw)
    lines = _told(tmp_path / "network", "x.npy", cwd=tmp_path)
    logits = np.asarray(jax.jit(Network(plan).apply)(variables_of(plan), (raw - MEAN) / STD))
    assert [line[0] for line in lines] == ["x.npy[0]", "x.npy[1]", "x.npy[2]"]
    for line, row in zip(lines, logits, strict=True):
        if kind == "regression":
            np.testing.assert_allclose([float(one) for one in line[1:]], row, rtol=1e-4, atol=1e-5)
            continue
        found = dict(field.rsplit(" ", 1) for field in line[1:])
        chances = 1 / (1 + np.exp(-row))
        for name, chance in zip(task.class_names, chances, strict=True):
            assert float(found[name]) == pytest.approx(chance, abs=6e-5)
        assert [*found] == [task.class_names[label] for label in np.argsort(-chances)]


def test_maps_of_classes_are_written_beside_the_files(handed, tmp_path):
    """A picture's map has its own size; the class is the brightest channel."""
    task = _task("segmentation", (4, 4, 3), 3, ("red", "green", "blue"))
    folder = handed(task, np.eye(3).tolist(), white=1.0)
    quarters = np.zeros((8, 8, 3), np.uint8)
    quarters[..., 0] = 200
    quarters[:4, :4] = (0, 200, 0)
    Image.fromarray(quarters).save(tmp_path / "photo.png")
    raw = np.random.default_rng(0).random((2, 4, 4, 3), np.float32)
    np.save(tmp_path / "x.npy", raw)
    photo, arrays = _told(folder, tmp_path / "photo.png", tmp_path / "x.npy", cwd=tmp_path)
    assert photo[1] == str(tmp_path / "photo.png.classes.png")
    assert photo[2:] == ["red 0.7500", "green 0.2500", "blue 0.0000"]
    found = Image.open(photo[1])
    np.testing.assert_array_equal(np.asarray(found), quarters.argmax(-1))
    colours = np.asarray(found.convert("RGB")).reshape(-1, 3)
    assert found.mode == "P" and len(np.unique(colours, axis=0)) == 2
    assert arrays[:2] == [str(tmp_path / "x.npy"), str(tmp_path / "x.npy.classes.npy")]
    np.testing.assert_array_equal(np.load(arrays[1]), raw.argmax(-1))


def test_what_was_written_is_not_read_again(handed, tmp_path):
    """The same command twice, with all the files there are."""
    folder = handed(_task("segmentation", (4, 4, 3), 3), np.eye(3).tolist(), white=1.0)
    where = tmp_path / "photos"
    where.mkdir()
    Image.new("RGB", (4, 4), "red").save(where / "a.png")
    Image.new("RGB", (4, 4), "blue").save(where / "b.classes.png")  # of no `b`: a photo as others
    np.save(where / "x.npy", np.zeros((4, 4, 3)))
    given = sorted(map(str, where.iterdir()))
    first = _told(folder, *given, cwd=tmp_path)
    everything = sorted(map(str, where.iterdir()))
    assert len(everything) == 6
    done = run_alone("-c", ALONE, str(folder / "predict.py"), *everything, cwd=tmp_path)
    assert [line.split("\t") for line in done.stdout.splitlines()] == first
    (line,) = done.stderr.splitlines()
    assert line.startswith("skipped") and all(one in line for one in {*everything} - {*given})
    assert sorted(map(str, where.iterdir())) == everything
    written = str(where / "a.png.classes.png")
    done = run_alone("-c", ALONE, str(folder / "predict.py"), written, cwd=tmp_path)
    assert done.returncode == 2 and "error: no other files are left." in done.stderr


def test_numbers_of_places_are_written_beside_the_files(handed, tmp_path):
    folder = handed(_task("dense_regression", (5, 2), 1), [[2.0], [1.0]])
    raw = np.random.default_rng(0).random((3, 5, 2), np.float32)
    np.save(tmp_path / "x.npy", raw)
    ((file, path),) = _told(folder, tmp_path / "x.npy", cwd=tmp_path)
    assert path == f"{file}.numbers.npy"
    np.testing.assert_allclose(np.load(path), raw @ np.float32([[2], [1]]), rtol=1e-5)


def _series(rng, number: int, shape, *, unequal: bool):
    lengths = rng.integers(3, 9, number) if unequal else [shape[0]] * number
    return [rng.normal(size=(length, shape[1])).round(3) for length in lengths]


def _write_long(path: Path, series, rng, *, labels: bool) -> None:
    """A row a moment, rows of all series mixed, columns in another order than trained on."""
    rows = []
    for index, values in enumerate(series):
        label = [("run", "walk")[index % 2]] if labels else []
        rows += [[f"s{index}", *values[t, ::-1], t, *label] for t in range(len(values))]
    order = rng.permutation(len(rows))
    header = ["series", "b", "a", "time", *(["label"] if labels else [])]
    lines = [header, *(rows[i] for i in order)]
    path.write_text("\n".join(",".join(map(str, line)) for line in lines))


@pytest.mark.parametrize("length", [None, 6])
def test_long_tables_are_read_as_they_were_for_training(handed, tmp_path, length):
    """What enters the network is what the loader makes of the same series."""
    rng = np.random.default_rng(0)
    series = _series(rng, 12, (5, 2), unequal=length is not None)
    _write_long(tmp_path / "all.csv", series, rng, labels=True)
    data = from_series(tmp_path / "all.csv", length=length)
    folder = handed(data.task, [[1.0, 0.0], [0.0, 1.0]], table=data.table)
    _write_long(tmp_path / "new.csv", series, rng, labels=False)
    described = predict.read_form(folder / "preprocess.json")
    found = predict.read(str(tmp_path / "new.csv"), described)
    names = [name.split("[")[1].rstrip("]") for name in found.names]
    assert sorted(names) == sorted(f"s{index}" for index in range(12))
    order = [int(name[1:]) for name in names]
    wanted = [np.concatenate([series[i], np.repeat(series[i][-1:], 9, 0)]) for i in order]
    wanted = [one[: data.task.input_shape[0], ::-1].astype(np.float32) for one in wanted]
    np.testing.assert_array_equal(found.raw, wanted)
    raw = np.concatenate([part.x for part in data[1:4]]) * data.std + data.mean
    thousandths = lambda x: {tuple(np.round(1000 * one.ravel()).astype(int)) for one in x}  # noqa: E731
    assert thousandths(raw) == thousandths(found.raw)
    lines = _told(folder, tmp_path / "new.csv", cwd=tmp_path)
    assert [line[0] for line in lines] == found.names
    for line, one in zip(lines, found.raw, strict=True):
        assert line[1].split()[0] == data.task.class_names[int(one.mean(0).argmax())]


def test_wide_tables_are_read_as_they_were_for_training(handed, tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 4)).round(3)
    rows = [f"{'ab'[i % 2]};" + ";".join(map(str, one)) for i, one in enumerate(values)]
    (tmp_path / "all.csv").write_text("\n".join(["label;t0;t1;t2;t3", *rows]))
    data = from_series(tmp_path / "all.csv")
    folder = handed(data.task, [[1.0, -1.0]], table=data.table)
    described = predict.read_form(folder / "preprocess.json")
    for text in ((tmp_path / "all.csv").read_text(), "\n".join(
        ["t0,t1,t2,t3", *(",".join(map(str, one)) for one in values)]
    )):  # fmt: skip
        (tmp_path / "new.csv").write_text(text)
        found = predict.read(str(tmp_path / "new.csv"), described)
        np.testing.assert_array_equal(found.raw, values[..., None].astype(np.float32))
        assert found.names[3] == f"{tmp_path / 'new.csv'}[3]"


@pytest.fixture
def trained_on_wide(handed, tmp_path):
    """A network trained on a wide table, and the values of some of it by column."""
    values = np.random.default_rng(0).normal(size=(20, 3)).round(3)
    rows = [f"{'ab'[i % 2]},{i}," + ",".join(map(str, one)) for i, one in enumerate(values)]
    (tmp_path / "all.csv").write_text("\n".join(["label,id,t0,t1,t2", *rows]))
    data = from_series(tmp_path / "all.csv")
    folder = handed(data.task, [[1.0, -1.0]], table=data.table)
    columns = {"label": ["a", "b"] * 4, "id": range(8), "more": range(8)}
    return folder, values[:8], columns | {f"t{time}": values[:8, time] for time in range(3)}


def _write_columns(path: Path, columns, names) -> str:
    rows = zip(*(columns[name] for name in names), strict=True)
    path.write_text("\n".join(",".join(map(str, row)) for row in [names, *rows]))
    return str(path)


@pytest.mark.parametrize(
    ("names", "left_out"),
    [
        ("t0 t1 t2", None),
        ("t2 t1 t0", None),
        ("t1 label t2 t0", None),
        ("id t0 t1 t2 label", "'id'"),
        ("more t2 t1 id t0", "'more' and 1 more"),
    ],
)
def test_moments_are_found_by_name(trained_on_wide, tmp_path, capsys, names, left_out):
    folder, values, columns = trained_on_wide
    file = _write_columns(tmp_path / "new.csv", columns, names.split())
    found = predict.read(file, predict.read_form(folder / "preprocess.json"))
    np.testing.assert_array_equal(found.raw, values[..., None].astype(np.float32))
    what = f"note: {file}: left out {left_out}, which the table trained on had not.\n"
    assert capsys.readouterr() == ("", what if left_out else "")


def test_missing_moments_are_named(trained_on_wide, tmp_path):
    folder, _, columns = trained_on_wide
    form = predict.read_form(folder / "preprocess.json")
    for names, missing in (("id t0 t2", "'t1'"), ("label id more", "'t0' and 2 more")):
        file = _write_columns(tmp_path / "new.csv", columns, names.split())
        with pytest.raises(ValueError, match=f"must have a column {missing}, as the table trained"):
            predict.read(file, form)


def test_without_names_of_moments_the_file_tells_their_order(trained_on_wide, tmp_path):
    """Networks exported before the names were kept, and those trained on arrays."""
    folder, values, columns = trained_on_wide
    form = predict.read_form(folder / "preprocess.json")
    file = _write_columns(tmp_path / "new.csv", columns, ["t2", "label", "t1", "t0"])
    del form["table"]["moments"]
    for table in (form["table"], None):
        found = predict.read(file, {**form, "table": table})
        np.testing.assert_array_equal(found.raw, values[:, ::-1, None].astype(np.float32))


@pytest.mark.parametrize("timed", [True, False])
def test_a_time_counts_where_it_counted_in_training(handed, tmp_path, capsys, timed):
    rows = [(f"s{i}", t, i % 2, i + t**2) for t in (2, 0, 1) for i in range(20)]
    header = ["series", "time" if timed else "hour", "label", "a"]
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    names = header if timed else [name for name in header if name != "hour"]
    _write_columns(tmp_path / "all.csv", columns, names)
    data = from_series(tmp_path / "all.csv")
    folder = handed(data.task, [[1.0, -1.0]], table=data.table)
    form = predict.read_form(folder / "preprocess.json")
    file = _write_columns(tmp_path / "new.csv", columns, header)
    found = predict.read(file, form)
    np.testing.assert_array_equal(found.raw[5, :, 0], [5, 6, 9] if timed else [9, 5, 6])
    assert capsys.readouterr().err.count("left out 'hour', which") == (not timed)


BAD_TABLES = {
    "series,a,b\ns,1": "rows as long as it",
    "series,a,a\ns,1,2": "a header of different names",
    "series,time,a\ns,1,2": "must have a column 'b', as the table trained on",
    "series,time,c\ns,1,2": "must have a column 'a' and 1 more, as the table trained on",
    "a,b\n1,2": "must have a column 'series' that names the series",
    "series,a,b\ns,1,2\ns,3,4": "must have a column 'time' that orders their moments",
    "series,time,a,b\ns,0,1,x": "must have finite numbers; got 'x' in 'b'",
    "series,time,a,b\ns,0,1,nan": "must have finite numbers; got 'nan' in 'b'",
    "series,time,a,b\ns,0,1,2": "must have 2 moments a series; s has 1",
    "series,time,a,b\ns,1,2,3\ns,1,2,3": "must have each time once a series; 's' has not",
}


def test_bad_tables_are_one_line(handed, tmp_path):
    table = {**predict.TABLE, "channels": ["a", "b"]}
    folder = handed(_task("regression", (2, 2), 1), [[1.0], [1.0]], table=table)
    described = predict.read_form(folder / "preprocess.json")
    for text, says in BAD_TABLES.items():
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(ValueError, match="bad.csv") as error:
            predict.read(str(tmp_path / "bad.csv"), described)
        assert says in str(error.value) and "\n" not in str(error.value)
    (tmp_path / "x.txt").write_text("a")
    with pytest.raises(ValueError, match="must end in .csv, .npy or .npz"):
        predict.read(str(tmp_path / "x.txt"), described)
    np.save(tmp_path / "x.npy", np.zeros((3, 3, 2)))
    with pytest.raises(ValueError, match=r"must hold series \[2, 2\] or several"):
        predict.read(str(tmp_path / "x.npy"), described)
