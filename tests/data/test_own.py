"""Which loader a path is for, and which options it has; nothing heavy is imported to say so."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

from nasgen.data import DATASETS, check, load
from nasgen.data.image_folder import from_image_folder
from nasgen.data.own import FILES, loader_of
from tests.data.photos import write_digits


def test_the_path_tells_the_loader(tmp_path):
    write_digits(tmp_path / "photos")
    assert loader_of(tmp_path / "photos").__name__ == "from_image_folder"
    for ending, loader in FILES.items():
        (tmp_path / f"a{ending.upper()}").write_bytes(b"")
        assert loader_of(tmp_path / f"a{ending.upper()}") is loader


def test_own_npz_is_as_npz(tmp_path):
    x = np.random.default_rng(0).random((30, 4, 4))
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(30) % 2)
    data, same = (load(name, path=tmp_path / "a.npz", seed=1) for name in ("own", "npz"))
    assert data.task == same.task and np.array_equal(data.train.x, same.train.x)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digits", {"size": 8}, "`size` is no option of data set 'digits'; its options are none"),
        ("own", {}, "`path` must be given for data set 'own'"),
        ("own", {"path": "photos", "label": "a"}, "`label` is no option of what is at 'photos'; "),
        ("own", {"path": "a.csv", "size": 8}, "its options are path, label, series, time, length"),
        ("own", {"path": "a.npz", "corrupt": "skip"}, "`corrupt` is no option .* kind, "),
        ("own", {"path": "a.txt"}, "`path` must be a folder of images or end in .npz, .csv, .par"),
        ("npz", {"path": "a.npz", "length": 3}, "`length` is no option of data set 'npz'"),
        ("tfds", {}, "`dataset` must be given for data set 'tfds'"),
    ],
)
def test_options_belong_to_sources(tmp_path, monkeypatch, name, options, message):
    monkeypatch.chdir(tmp_path)
    write_digits(tmp_path / "photos")
    for file in ("a.csv", "a.npz", "a.txt"):
        (tmp_path / file).write_bytes(b"")
    for refuse in (check, load):
        with pytest.raises(ValueError, match=message):
            refuse(name, **options)


@pytest.mark.parametrize(
    "loader",
    dict.fromkeys((*DATASETS.values(), *FILES.values(), from_image_folder)),  # each once, in order
    ids=lambda one: one.__name__,
)
def test_every_loader_takes_a_seed_by_name(loader):
    seed = inspect.signature(loader).parameters["seed"]
    assert seed.kind is seed.KEYWORD_ONLY and seed.default == 0


def test_the_seed_reaches_what_the_path_tells(tmp_path):
    write_digits(tmp_path / "photos")
    one, other = (load("own", path=tmp_path / "photos", seed=seed).test.x for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_data_is_light_to_import():
    code = (
        "import sys, nasgen.data; print(*{'jax', 'sklearn', 'pandas', 'pyarrow'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
