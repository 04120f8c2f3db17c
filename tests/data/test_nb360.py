"""NAS-Bench-360: each task from made data in its official files, whole, split as the benchmark
splits, and refused in one line where a file is missing, broken or hostile."""

import gzip
import pickle
from functools import cache

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from nasgen.data import check, load
from nasgen.data.folder import VARIABLE
from nasgen.data.mel import log_mel
from nasgen.data.nb360 import NB360, darcy_flow, psicov
from nasgen.data.nb360.ecg import STRIDES, WINDOW
from nasgen.data.rows import Rows
from nasgen.data.task import check_objective
from nasgen.types import KINDS
from tests.data.bomb import Bomb
from tests.data.nb360_files import WRITERS, write_darcy_flow, write_psicov, write_wav

# name -> examples of training, validation and test in the made data; None: see the task's test
SIZES = {
    "cifar100": (500, 125, 100),
    "spherical": (16, 4, 6),
    "ninapro": (108, 36, 18),
    "fsd50k": (6, 3, 4),
    "darcy_flow": (9, 3, 4),
    "psicov": (3, 3, 4),
    "cosmic": (10, 2, 6),
    "ecg": None,
    "satellite": (144, 24, 24),
    "deepsea": (20, 5, 8),
}
# As the paper has them: input, classes or outputs, kind, metric.
PAPER = {
    "cifar100": ((32, 32, 3), 100, "classification", "accuracy"),
    "spherical": ((60, 60, 3), 100, "classification", "accuracy"),
    "ninapro": ((52, 16, 1), 18, "classification", "accuracy"),
    "fsd50k": ((96, 101, 1), 200, "multi_label", "mean_average_precision"),
    "darcy_flow": ((85, 85, 3), 1, "dense_regression", "relative_l2"),
    "psicov": ((128, 128, 57), 1, "dense_regression", "mean_absolute_error_8"),
    "cosmic": ((128, 128, 1), 2, "segmentation", "auroc"),
    "ecg": ((1000, 1), 4, "classification", "macro_f1"),
    "satellite": ((46, 1), 24, "classification", "accuracy"),
    "deepsea": ((1000, 4), 36, "multi_label", "auroc"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nb360")


@pytest.fixture(autouse=True)
def few_examples(monkeypatch):
    """The official numbers of rows, where a loader counts on them, as made data has them."""
    for name, number in (("TRAIN", 9), ("VALIDATION", 3), ("TEST", 4)):
        monkeypatch.setattr(darcy_flow, name, number)
    monkeypatch.setattr(psicov, "VALIDATION", 2)


@pytest.fixture(scope="module")
def held(folder):
    """What was written for a task, by its name; it is written once."""
    return cache(lambda name: WRITERS[name](folder / NB360[name].FOLDER))


def get(name, folder, **options):
    return load("nb360", dataset=name, path=folder, **options)


def raw(data, split):
    return np.asarray(split.x) * data.std + data.mean


@pytest.mark.parametrize("name", NB360)
def test_the_task_is_the_papers(name):
    task = NB360[name].TASK
    assert (task.input_shape, task.num_classes, task.kind, task.metric) == PAPER[name]
    assert task.name == name
    check_objective(task)


@pytest.mark.parametrize("name", NB360)
def test_made_data_has_the_official_shapes(name, folder, held):
    held(name)
    check("nb360", dataset=name, path=folder)
    data = get(name, folder)
    assert data.task._replace(class_names=()) == NB360[name].TASK._replace(class_names=())
    assert len(data.task.class_names) in (0, data.task.num_classes)
    if SIZES[name]:
        assert tuple(len(split.y) for split in data[1:4]) == SIZES[name]
    places = data.task.input_shape[:-1]
    for split in data[1:4]:
        assert split.x.shape == (len(split.y), *data.task.input_shape)
        x = np.asarray(split.x)
        assert x.dtype == np.float32 and np.isfinite(x).all()
        assert split.y.dtype == KINDS[data.task.kind].targets
        assert (
            split.y.shape[1:]
            == {
                "classification": (),
                "multi_label": (data.task.num_classes,),
                "segmentation": places,
                "dense_regression": (*places, 1),
            }[data.task.kind]
        )
        if data.task.kind in ("classification", "segmentation"):
            assert split.y.min() >= 0 and split.y.max() < data.task.num_classes
    x = np.asarray(data.train.x)
    axes = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(x.mean(axes), 0, atol=1e-3)
    np.testing.assert_allclose(x.std(axes), 1, atol=1e-3)


@pytest.mark.parametrize("name", ["cifar100", "spherical"])
def test_images_come_back_and_the_last_fifth_validates(name, folder, held):
    (x, y), test = held(name)["train"], held(name)["test"]
    data = get(name, folder, seed=3)
    kept = len(x) * 4 // 5
    for split, (images, labels) in zip(
        data[1:4], ((x[:kept], y[:kept]), (x[kept:], y[kept:]), test), strict=True
    ):
        np.testing.assert_array_equal(raw(data, split).round(), images)
        np.testing.assert_array_equal(split.y, labels)
    assert data.white == 255


def test_spherical_stays_bytes_and_may_be_unpacked(folder, held, tmp_path):
    held("spherical")
    data = get("spherical", folder)
    assert isinstance(data.train.x, Rows)
    (tmp_path / "spherical").mkdir()
    content = gzip.decompress((folder / "spherical" / "s2_cifar100.gz").read_bytes())
    (tmp_path / "spherical" / "s2_cifar100").write_bytes(content)
    again = get("spherical", tmp_path)
    np.testing.assert_array_equal(again.train.x[:], data.train.x[:])


def test_ninapro_keeps_its_parts(folder, held):
    held("ninapro")
    data = get("ninapro", folder)
    for split, part in zip(data[1:4], ("train", "val", "test"), strict=True):
        x, y = held("ninapro")[part]
        np.testing.assert_allclose(raw(data, split)[..., 0], x, atol=1e-10)
        np.testing.assert_array_equal(split.y, y)


def test_satellite_series_have_their_own_scale(folder, held):
    held("satellite")
    data = get("satellite", folder)
    x, y = held("satellite")["train"]["data"], held("satellite")["train"]["label"]
    wanted = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    found = np.concatenate([raw(data, split) for split in data[1:3]])
    np.testing.assert_allclose(found[..., 0], wanted, atol=1e-4)
    np.testing.assert_array_equal(np.concatenate([data.train.y, data.validation.y]), y - 1)


def test_ecg_cuts_windows_of_whole_recordings(folder, held):
    """A recording lies in one part alone, at the benchmark's draw; rare classes have more."""
    recordings, letters = held("ecg")
    data = get("ecg", folder)
    train, rest = train_test_split(np.arange(len(letters)), test_size=0.2, random_state=0)
    validation, test = train_test_split(rest, test_size=0.5, random_state=0)
    for split, chosen in zip(data[1:4], (train, validation, test), strict=True):
        x, row = raw(data, split)[..., 0], 0
        for number in chosen:
            label = "NAO~".index(letters[number])
            whole = recordings[number].astype(np.float64)
            whole = (whole - whole.mean()) / whole.std()
            for start in range(0, len(whole) - WINDOW, STRIDES[label]):
                np.testing.assert_allclose(x[row], whole[start : start + WINDOW], atol=1e-4)
                assert split.y[row] == label
                row += 1
        assert row == len(split.y)


def test_deepsea_letters_come_back(folder, held):
    held("deepsea")
    data = get("deepsea", folder)
    assert isinstance(data.train.x, Rows)
    for split, part in zip(data[1:4], ("train", "val", "test"), strict=True):
        np.testing.assert_array_equal(raw(data, split).round(), held("deepsea")[f"x_{part}"])
        np.testing.assert_array_equal(split.y, held("deepsea")[f"y_{part}"])


def test_fsd50k_hears_one_chunk_of_a_clip(folder, held):
    held("fsd50k")
    data = get("fsd50k", folder, seed=1)
    for split, table in zip(data[1:4], ("tr", "val", "eval"), strict=True):
        clips = held("fsd50k")[table]
        for row, clip in enumerate(sorted(clips)):
            number = int(clip) - 1000
            assert set(np.flatnonzero(split.y[row])) == {number, 199 - number}
            images = [log_mel(chunk / 2**15) for chunk in clips[clip]]
            found = split.x[row][..., 0] * data.std + data.mean
            gaps = [np.abs(found - image).max() for image in images]
            if table == "tr":
                assert min(gaps) < 1e-3
            else:
                assert gaps[len(images) // 2] < 1e-3
    draws = {np.asarray(get("fsd50k", folder, seed=seed).train.x).tobytes() for seed in range(6)}
    assert len(draws) > 1
    assert data.task.class_names[7] == "Source_7"


def test_darcy_flow_takes_every_fifth_pixel(folder, held):
    held("darcy_flow")
    data = get("darcy_flow", folder)
    (coeff, sol), (_, last) = held("darcy_flow")
    x = raw(data, data.train)
    np.testing.assert_allclose(x[..., 0], coeff[:9, ::5, ::5], atol=1e-4)
    np.testing.assert_allclose(x[0, :, 0, 2], np.linspace(0, 1, 85), atol=1e-5)
    np.testing.assert_allclose(x[0, 0, :, 1], np.linspace(0, 1, 85), atol=1e-5)
    for split, wanted in ((data.train, sol[:9]), (data.validation, sol[9:]), (data.test, last)):
        np.testing.assert_allclose(split.y[..., 0], wanted[:, ::5, ::5], rtol=1e-6)


def test_darcy_flow_of_matlab_7_3(tmp_path, folder, held):
    pytest.importorskip("h5py", reason="needs the extra `matlab`")
    held("darcy_flow")
    write_darcy_flow(tmp_path / "darcyflow", hdf5=True)
    new, old = get("darcy_flow", tmp_path), get("darcy_flow", folder)
    for found, wanted in zip(new[1:4], old[1:4], strict=True):
        np.testing.assert_array_equal(found.x, wanted.x)
        np.testing.assert_array_equal(found.y, wanted.y)


def test_matlab_7_3_without_h5py_names_the_extra(tmp_path, monkeypatch):
    file = tmp_path / "piececonst_r421_N1024_smooth1.mat"
    file.write_bytes(b"MATLAB 7.3".ljust(512) + b"\x89HDF\r\n\x1a\n")
    (tmp_path / "piececonst_r421_N1024_smooth2.mat").write_bytes(file.read_bytes())
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ValueError, match=r'needs h5py, .* pip install "nasgen\[matlab\]"'):
        get("darcy_flow", tmp_path)


def test_psicov_shows_each_near_pair_once(folder, held):
    """Windows on the diagonal, of which those behind the first hide what was seen."""
    held("psicov")
    data = get("psicov", folder)
    x, y = raw(data, data.test), data.test.y[..., 0]
    for rows, name in (([0], "psicov0"), ([1, 2, 3], "psicov1")):
        features, distances = held("psicov")[name]
        length = len(distances)
        seen = np.zeros((length + 10,) * 2, int)
        for number, row in enumerate(rows):
            start = 64 * number
            window = slice(start, min(start + 128, length + 10))
            shown = y[row] < 16
            size = window.stop - start
            seen[window, window] += shown[:size, :size]
            assert not shown[size:].any() and not shown[:, size:].any()
            where = np.argwhere(shown)
            i, j = (where + start - 5).T
            apart = i != j
            wanted = np.maximum(distances[i, j], 1)[apart]
            np.testing.assert_allclose(y[row][shown][apart], wanted, rtol=1e-5)
            np.testing.assert_allclose(x[row][shown][:, 0], features["ss"][0, j], atol=1e-4)
            np.testing.assert_allclose(x[row][shown][:, 1], features["ss"][0, i], atol=1e-4)
            np.testing.assert_allclose(x[row][shown][:, 8], features["pssm"][j, 1], atol=1e-4)
            np.testing.assert_allclose(x[row][shown][:, 53], features["entropy"][i], atol=1e-4)
            np.testing.assert_allclose(x[row][shown][:, 56], features["potential"][i, j], atol=1e-4)
        near = np.minimum(np.maximum(distances, 1), 16) < 16
        residues = np.arange(length)
        near &= np.abs(residues[:, None] - residues) <= 64
        assert seen.max() == 1 and (seen[5:-5, 5:-5][near] == 1).all()


def test_psicov_crops_long_proteins_for_training(folder, held):
    held("psicov")
    data = get("psicov", folder, seed=2)
    assert data.train.y.max() == 16 and data.train.y.min() >= 1
    crops = [get("psicov", folder, seed=seed).train.y[1] for seed in range(4)]  # of length 150
    assert len({crop.tobytes() for crop in crops}) > 1
    short = [get("psicov", folder, seed=seed).train.y[0] for seed in range(2)]
    np.testing.assert_array_equal(*short)
    filled = data.train.y[2, ..., 0]  # of length 33, with a border of 5
    assert (filled[:5] == 16).all() and (filled[38:] == 16).all()
    np.testing.assert_allclose(filled[20, 20], (filled[20, 19] + filled[20, 21]) / 2, rtol=1e-5)


def test_cosmic_takes_the_middle_of_galaxies(folder, held):
    held("cosmic")
    data = get("cosmic", folder)
    written = held("cosmic")["npy_train"]
    found = np.concatenate([raw(data, split)[..., 0] for split in data[1:3]])
    y = np.concatenate([data.train.y, data.validation.y])
    assert len(found) == len(written) == 12
    for planes, image, mask in zip(written, found, y, strict=True):
        middle = planes[:, 64:192, 64:192]
        np.testing.assert_allclose(image, middle[0], rtol=1e-4)
        ignored = middle[2] if len(planes) == 3 else 0
        np.testing.assert_array_equal(mask, middle[1] * (1 - ignored))


@pytest.mark.parametrize("name", NB360)
def test_what_is_missing_is_said_with_where_to_get_it(name, tmp_path, monkeypatch):
    for refuse in (check, load):
        with pytest.raises(ValueError, match="looked at .* on nb360.ml.cmu.edu; set") as caught:
            refuse("nb360", dataset=name, path=tmp_path)
        assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
        assert f"`dataset` {name} needs" in str(caught.value)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    with pytest.raises(ValueError) as caught:
        check("nb360", dataset=name)
    assert str(tmp_path / "data" / "nb360" / NB360[name].FOLDER) in str(caught.value)


def test_the_folder_of_data_is_found_by_itself(tmp_path, monkeypatch):
    WRITERS["ninapro"](tmp_path / "nb360" / "ninapro")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    wanted = load("nb360", dataset="ninapro")
    for path in (tmp_path / "nb360", tmp_path / "nb360" / "ninapro"):
        found = get("ninapro", path)
        np.testing.assert_array_equal(found.train.x, wanted.train.x)


def test_an_unknown_task_lists_the_valid_ones(tmp_path):
    with pytest.raises(ValueError, match="must be one of cifar100, .* Did you mean 'psicov'"):
        check("nb360", dataset="psicof", path=tmp_path)


def npy(value):
    box = np.empty((), object)
    box[()] = value
    return box


PICKLES = {
    "cifar100": ("cifar-100/cifar-100-python/train", False),
    "spherical": ("spherical/s2_cifar100.gz", False),
    "ecg": ("ecg/challenge2017.pkl", False),
    "satellite": ("satellite/satellite_train.npy", True),
    "psicov": ("psicov/deepcov/distance/deepcov0-cb.npy", True),
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_hostile_file_executes_nothing(name, tmp_path, monkeypatch):
    monkeypatch.setenv("NASGEN_BOMB", str(tmp_path / "bomb"))
    WRITERS[name](tmp_path / NB360[name].FOLDER)
    file, is_array = tmp_path / PICKLES[name][0], PICKLES[name][1]
    if is_array:
        np.save(file, npy(Bomb()), allow_pickle=True)
    else:
        content = pickle.dumps({"data": Bomb(), "train": Bomb()})
        file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    with pytest.raises(ValueError, match="must hold arrays and plain values: it names") as caught:
        get(name, tmp_path)
    assert "\n" not in str(caught.value) and not (tmp_path / "bomb").exists()


def test_hostile_features_execute_nothing_when_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("NASGEN_BOMB", str(tmp_path / "bomb"))
    write_psicov(tmp_path / "psicov")
    (tmp_path / "psicov/deepcov/features/deepcov3.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="deepcov3.pkl must hold arrays and plain values"):
        get("psicov", tmp_path)
    assert not (tmp_path / "bomb").exists()


def damaged(name, folder):
    """Of each task a file that will not do, and what is said of it."""
    base = folder / NB360[name].FOLDER
    if name == "cifar100":
        (base / "cifar-100-python" / "test").write_bytes(pickle.dumps({"data": np.zeros((2, 9))}))
        return "test must have data, fine_labels"
    if name == "spherical":
        (base / "s2_cifar100.gz").write_bytes(b"not packed")
        return "s2_cifar100.gz cannot be unpacked"
    if name == "ninapro":
        np.save(base / "ninapro_val.npy", np.zeros((3, 16, 52)))
        return r"ninapro_val.npy must be of shape \(any, 52, 16\); got \(3, 16, 52\)"
    if name == "fsd50k":
        write_wav(next((base / "data" / "dev_chunks").glob("1000_*.wav")), np.zeros(44_100), 44_100)
        return "must be one channel of 16 bits, 22050 a second"
    if name == "darcy_flow":
        (base / "piececonst_r421_N1024_smooth1.mat").write_bytes(b"x" * 1000)
        return "smooth1.mat must be MATLAB's"
    if name == "psicov":
        (base / "deepcov.lst").write_text("../../etc/passwd\na\nb\n")
        return "deepcov.lst must have a name a line; got"
    if name == "cosmic":
        np.save(base / "npy_test/f435w/9490/a3/1_0.npy", np.zeros((3, 100, 256)))
        return "2 or 3 planes of at least 128x128"
    if name == "ecg":
        content = {"data": [np.zeros(2000)], "label": ["X"]}
        (base / "challenge2017.pkl").write_bytes(pickle.dumps(content))
        return "must have the labels N, A, O, ~; got 'X'"
    if name == "satellite":
        content = {"data": np.zeros((3, 46)), "label": np.array([1, 2, 25])}
        np.save(base / "satellite_test.npy", content, allow_pickle=True)
        return "satellite_test.npy must have labels in 0..23; got 24"
    arrays = dict(np.load(base / "deepsea_filtered.npz"))
    np.savez(base / "deepsea_filtered.npz", **{**arrays, "x_val": arrays["x_val"] + 1})
    return "must have 0 and 1 alone in 'x_val'"


@pytest.mark.parametrize("name", NB360)
def test_a_broken_file_is_said_in_one_line(name, tmp_path):
    WRITERS[name](tmp_path / NB360[name].FOLDER)
    message = damaged(name, tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        get(name, tmp_path)
    assert "\n" not in str(caught.value)


def test_tables_of_fsd50k_lead_nowhere_else(tmp_path):
    WRITERS["fsd50k"](tmp_path / "audio")
    table = tmp_path / "audio/data/chunks/val.csv"
    lines = table.read_text().splitlines()
    write_wav(tmp_path / "outside.wav", np.zeros(22_050))
    outside = "/home/author/fsd/data/dev_chunks/../../../outside.wav"
    lines[-1] = ",".join([outside, lines[-1].split(",", 1)[1]])  # of a clip of one chunk
    table.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="val.csv names .*, which is not below"):
        get("fsd50k", tmp_path)
