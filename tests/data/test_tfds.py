"""Data sets of tensorflow-datasets: found on disk by name, read whole, refused with the remedy.

The first test writes a real array_record data set and reads it, where the extra `tfds` is installed
and without TensorFlow. The others stand in for the module, which is slow to import, with an object
that gives the same examples.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from nasgen.data import check, load
from nasgen.data.batches import epoch_batches
from nasgen.data.rows import Rows

IMAGES = (load_digits().images[:60, ..., None] * 15).astype(np.uint8)
LABELS = np.arange(60) % 3
NAMES = ["red", "green", "blue"]
PREFIX = "tensorflow_datasets.core.features."

WRITE = """
import io, sys
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

images, labels = (np.load(name) for name in sys.argv[2:])

class Tiny(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.2.0")

    def _info(self):
        features = {"image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(names=["red", "green", "blue"])}
        return tfds.core.DatasetInfo(builder=self, supervised_keys=("image", "label"),
                                     features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager):
        return {"train": self._generate_examples(0, 45), "test": self._generate_examples(45, 60)}

    def _generate_examples(self, start, stop):
        for index in range(start, stop):
            file = io.BytesIO()
            Image.fromarray(images[index, ..., 0]).save(file, "PNG")
            file.seek(0)
            yield index, {"image": file, "label": int(labels[index])}

Tiny(data_dir=sys.argv[1], file_format="array_record").download_and_prepare()
"""
READ = """
import sys
import numpy as np
from nasgen.data import load
data = load("tfds", dataset="tiny", path=sys.argv[1], seed=2)
assert "tensorflow" not in sys.modules
assert data.task[:3] == ("tiny", (8, 8, 1), 3)
assert data.task.class_names == ("red", "green", "blue")
import nasgen.data.tfds
nasgen.data.tfds.fits = lambda *shape, **part: False  # as if it were too large for the memory
lazy = load("tfds", dataset="tiny", path=sys.argv[1], seed=2)
assert lazy.task == data.task and lazy.white == data.white and len(lazy.notes) == 1
for found, wanted in zip(lazy[1:4], data[1:4]):
    assert not isinstance(found.x, np.ndarray)
    assert np.array_equal(found.x[:], wanted.x) and np.array_equal(found.y, wanted.y)
assert "tensorflow" not in sys.modules
arrays = {}
for name, split in zip(("train", "validation", "test"), data[1:4]):
    arrays[f"x_{name}"] = split.x * data.std + data.mean
    arrays[f"y_{name}"] = split.y
np.savez(sys.argv[2], **arrays)
"""


def assert_whole(parts):
    """All images of each split once, each with its label; validation out of the training part."""
    label_of = {image.tobytes(): label for image, label in zip(IMAGES, LABELS, strict=True)}
    held_out = {image.tobytes() for image in IMAGES[45:]}
    assert [len(y) for _, y in parts] == [36, 9, 15]
    for number, (x, y) in enumerate(parts):
        keys = [image.tobytes() for image in x.round().astype(np.uint8)]
        assert [label_of.pop(key) for key in keys] == list(y)
        assert (set(keys) <= held_out) == (number == 2)
    assert not label_of


@pytest.mark.skipif(
    not (find_spec("tensorflow_datasets") and find_spec("array_record")),
    reason="needs the extra `tfds`",
)
def test_array_record_is_read_without_tensorflow(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "y.npy", LABELS)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "write.py").write_text(WRITE)
    files = [tmp_path / "x.npy", tmp_path / "y.npy"]
    root = Path(__file__).resolve().parents[2]
    for command in (
        ["-m", "write", tmp_path, *files],
        ["-c", READ, tmp_path, tmp_path / "read.npz"],
    ):
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=tmp_path / "code",
            env={"PYTHONPATH": f"{root}:{tmp_path / 'code'}", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "read.npz") as read:
        names = ("train", "validation", "test")
        assert_whole([(read[f"x_{name}"], read[f"y_{name}"]) for name in names])


def write(data_dir, version="1.2.0", *, stored="array_record", module=PREFIX, config=""):
    """What lies beside the records of a prepared data set."""
    folder = data_dir / "tiny" / config / version
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"fileFormat": stored, "name": "tiny"}))
    features = {"image": {"pythonClassName": f"{module}image_feature.Image"}}
    about = {"pythonClassName": f"{PREFIX}features_dict.FeaturesDict", "featuresDict": features}
    (folder / "features.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def stand_in(monkeypatch):
    """A module that gives the digits; `opened` are the folders that it was asked for."""
    examples = [
        {"image": image, "label": label} for image, label in zip(IMAGES, LABELS, strict=True)
    ]
    splits = {"train": examples[:45], "test": examples[45:], "unsupervised": examples[:7]}
    info = SimpleNamespace(
        supervised_keys=("image", "label"),
        splits=splits,
        features={
            "image": SimpleNamespace(shape=(None, None, 1), np_dtype=np.uint8),
            "label": SimpleNamespace(names=NAMES),
        },
    )
    opened = []

    def builder_from_directory(folder):
        opened.append(Path(folder))
        return SimpleNamespace(info=info, as_data_source=as_data_source)

    def as_data_source(decoders=None):
        plain = [{"label": one["label"], **dict.fromkeys(decoders or (), b"")} for one in examples]
        skipped = {"train": plain[:45], "test": plain[45:], "unsupervised": plain[:7]}
        return skipped if decoders else splits

    decode = SimpleNamespace(SkipDecoding=object)
    module = SimpleNamespace(builder_from_directory=builder_from_directory, decode=decode)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    monkeypatch.setattr("nasgen.data.tfds.find_spec", lambda name: name)
    return SimpleNamespace(opened=opened, splits=splits, info=info)


def test_examples_come_back_whole(tmp_path, stand_in):
    write(tmp_path)
    data = load("tfds", dataset="tiny", path=tmp_path)
    assert data.task[:3] == ("tiny", (8, 8, 1), 3) and data.task.class_names == tuple(NAMES)
    assert_whole([(split.x * data.std + data.mean, split.y) for split in data[1:4]])
    judged = load("tfds", dataset="tiny", path=tmp_path, metric="macro_f1").task
    assert judged == data.task._replace(metric="macro_f1")


@pytest.mark.parametrize("size", [8, 5])
def test_what_is_too_large_is_decoded_when_it_is_needed(tmp_path, stand_in, monkeypatch, size):
    """The same data set, of which nothing but a sample is decoded before."""
    write(tmp_path)
    whole = load("tfds", dataset="tiny", path=tmp_path, size=size, seed=1)
    monkeypatch.setattr("nasgen.data.tfds.fits", lambda *shape, **part: False)
    monkeypatch.setattr("nasgen.data.rows.SAMPLE", 36)  # all, so that both are scaled alike
    decoded = []
    monkeypatch.setattr(
        "nasgen.data.tfds._picture",
        lambda image: decoded.append(1) or Image.fromarray(image[..., 0]),
    )
    lazy = load("tfds", dataset="tiny", path=tmp_path, size=size, seed=1)
    assert len(decoded) == 36 and lazy.white == 255 and "as they are needed" in lazy.notes[0]
    assert lazy.task == whole.task
    for found, wanted in zip(lazy[1:4], whole[1:4], strict=True):
        np.testing.assert_allclose(found.x[:], wanted.x, atol=1e-5)
        np.testing.assert_array_equal(found.y, wanted.y)
    decoded.clear()
    resumed = [epoch_batches(one.train.x, one.train.y, 7, seed=3)(11) for one in (lazy, whole)]
    assert 7 <= len(decoded) <= 14  # and those of the next step
    for found, wanted in zip(*resumed, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_of_mixed_sizes_all_are_looked_at_unless_a_size_is_given(tmp_path, stand_in, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr("nasgen.data.tfds.fits", lambda *shape, **part: False)
    assert isinstance(load("tfds", dataset="tiny", path=tmp_path).train.x, np.ndarray)
    stand_in.info.features["image"].shape = (8, 8, 1)
    assert isinstance(load("tfds", dataset="tiny", path=tmp_path).train.x, Rows)


def test_the_newest_version_is_read_unless_one_is_named(tmp_path, stand_in, monkeypatch):
    for version in ("1.9.0", "1.10.0", "0.9.9"):
        write(tmp_path, version)
    write(tmp_path, "1.0.0", config="small")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for name in ("tiny", "tiny:1.9.0", "tiny/small"):
        load("tfds", dataset=name)
    found = [one.relative_to(tmp_path / "tiny").as_posix() for one in stand_in.opened]
    assert found == ["1.10.0", "1.9.0", "small/1.0.0"]


def test_mixed_sizes_are_resized_with_a_word(tmp_path, stand_in):
    write(tmp_path)
    odd = {"image": np.zeros((12, 9, 1), np.uint8), "label": 0}
    stand_in.splits["train"][0] = odd
    data = load("tfds", dataset="tiny", path=tmp_path)
    assert data.task.input_shape == (8, 8, 1) and "1 of 60 images, of 2 sizes" in data.notes[0]
    assert load("tfds", dataset="tiny", path=tmp_path, size=6).task.input_shape == (6, 6, 1)
    assert data.white == 255


def test_transparent_images_of_mixed_sizes_lie_on_white_with_a_word(tmp_path, stand_in):
    write(tmp_path)
    for part in ("train", "test"):
        for one in stand_in.splits[part]:
            one["image"] = np.repeat(one["image"], 4, -1)
    stand_in.splits["train"][0]["image"] = np.zeros((12, 9, 4), np.uint8)
    data = load("tfds", dataset="tiny", path=tmp_path)
    assert data.task.input_shape == (8, 8, 3)
    assert data.notes[-1] == "60 of 60 images have transparency: they lie on white."
    raw = np.concatenate([split.x for split in data[1:4]]) * data.std + data.mean
    assert any(np.abs(image - 255).max() < 1e-3 for image in raw)  # of which nothing is seen


def test_what_is_not_there_comes_with_the_command_that_prepares_it(tmp_path):
    command = f"tfds build tiny --data_dir={tmp_path} --file_format=array_record"
    for refuse in (check, load):
        with pytest.raises(ValueError, match="looked at") as caught:
            refuse("tfds", dataset="tiny", path=tmp_path)
        assert str(tmp_path / "tiny") in str(caught.value) and command in str(caught.value)
    write(tmp_path, config="small")
    with pytest.raises(ValueError, match="its configs there are small"):
        check("tfds", dataset="tiny", path=tmp_path)
    with pytest.raises(ValueError, match="tfds build tiny/small:2.0.0 "):
        check("tfds", dataset="tiny/small:2.0.0", path=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stored": "tfrecord"}, "stored as array_record; .* has tfrecord.* --overwrite"),
        ({"module": "os."}, "features of tensorflow-datasets; .* names 'os.image_feature.Image'"),
        ({"version": "1.0.0"}, None),
    ],
)
def test_what_is_there_is_checked_before_it_is_read(tmp_path, stand_in, options, message):
    write(tmp_path, **options)
    if message is None:
        load("tfds", dataset="tiny", path=tmp_path)
        return
    with pytest.raises(ValueError, match=message) as caught:
        load("tfds", dataset="tiny", path=tmp_path)
    assert "\n" not in str(caught.value) and not stand_in.opened


LEGACY = {"type": "stranger.X", "content": {}}
STRANGERS = {
    "as it is written": {"pythonClassName": "stranger.X"},
    "as the field is called": {"python_class_name": "stranger.X", "json_feature": {"json": "{}"}},
    "older": LEGACY,
    "within": {
        "pythonClassName": f"{PREFIX}features_dict.FeaturesDict",
        "featuresDict": {"features": {"image": {"pythonClassName": "stranger.X"}}},
    },
    "in a string": {
        "pythonClassName": f"{PREFIX}features_dict.FeaturesDict",
        "jsonFeature": {"json": json.dumps({"image": LEGACY})},
    },
}


@pytest.mark.parametrize("form", STRANGERS)
def test_a_description_that_names_other_modules_is_refused_in_every_form(tmp_path, stand_in, form):
    folder = write(tmp_path)
    (folder / "features.json").write_text(json.dumps(STRANGERS[form]))
    with pytest.raises(ValueError, match="features of tensorflow-datasets; .* names 'stranger.X'"):
        load("tfds", dataset="tiny", path=tmp_path)
    assert not stand_in.opened


@pytest.mark.parametrize("form", STRANGERS)
def test_tensorflow_datasets_itself_would_import_them(tmp_path, monkeypatch, form):
    features = pytest.importorskip("tensorflow_datasets").features
    (tmp_path / "stranger.py").write_text("raise RuntimeError('was run')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="was run"):
        features.FeatureConnector.from_json(STRANGERS[form])


@pytest.mark.parametrize("name", ["../tiny", "/etc/tiny", "tiny/..", "tiny:new", "a b", ""])
def test_names_lead_nowhere_else(tmp_path, name):
    with pytest.raises(ValueError, match="`dataset` must be name"):
        check("tfds", dataset=name, path=tmp_path)


def test_without_the_module_the_extra_is_named(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr("nasgen.data.tfds.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'tensorflow_datasets.*pip install "nasgen\[tfds\]"'):
        check("tfds", dataset="tiny", path=tmp_path)


def test_unsuitable_data_sets(tmp_path, stand_in):
    write(tmp_path)
    stand_in.info.supervised_keys = None
    with pytest.raises(ValueError, match="an input and a label; tiny has keys None"):
        load("tfds", dataset="tiny", path=tmp_path)
    stand_in.info.supervised_keys = ("image", "label")
    stand_in.splits["full"] = stand_in.splits.pop("train")
    with pytest.raises(ValueError, match="a split `train`; tiny has"):
        load("tfds", dataset="tiny", path=tmp_path)
