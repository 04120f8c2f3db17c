"""Made data in the official files of NAS-Bench-360: the right names, formats and shapes, few rows.

`write_NAME(folder)` writes what lies in the folder of a task and returns what the test wants to
find again.
"""

import csv
import gzip
import json
import pickle
import wave
from pathlib import Path

import numpy as np
from scipy.io import savemat

RNG = np.random.default_rng(0)


def images(num, *shape):
    return RNG.integers(0, 256, (num, *shape)).astype(np.uint8)


def write_cifar100(folder: Path):
    folder = folder / "cifar-100-python"
    folder.mkdir(parents=True)
    held = {}
    for part, num in (("train", 625), ("test", 100)):
        planes, labels = images(num, 3, 32, 32), [n % 100 for n in range(num)]
        content = {
            "data": planes.reshape(num, -1),
            "fine_labels": labels,
            "coarse_labels": labels,
            "filenames": ["a.png"] * num,
            "batch_label": "one",
        }
        (folder / part).write_bytes(pickle.dumps(content, 2))
        held[part] = planes.transpose(0, 2, 3, 1), np.array(labels)
    names = {"fine_label_names": [f"class {n}" for n in range(100)], "coarse_label_names": []}
    (folder / "meta").write_bytes(pickle.dumps(names, 2))
    return held


def write_spherical(folder: Path):
    folder.mkdir(parents=True)
    held = {
        part: {"images": images(num, 3, 60, 60), "labels": np.arange(num) % 100}
        for part, num in (("train", 20), ("test", 6))
    }
    with gzip.open(folder / "s2_cifar100.gz", "wb", 1) as file:
        pickle.dump(held, file)
    return {
        part: (one["images"].transpose(0, 2, 3, 1), one["labels"]) for part, one in held.items()
    }


def write_ninapro(folder: Path):
    folder.mkdir(parents=True)
    held = {}
    for part, num in (("train", 108), ("val", 36), ("test", 18)):
        x, y = RNG.normal(0, 1e-5, (num, 52, 16)), np.arange(num) % 18
        np.save(folder / f"ninapro_{part}.npy", x)
        np.save(folder / f"label_{part}.npy", y)
        held[part] = x, y
    return held


def write_wav(file: Path, samples: np.ndarray, rate: int = 22_050):
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())


def write_fsd50k(folder: Path):
    """Clips of one to three chunks; their first label is their number."""
    meta = folder / "data" / "chunks"
    meta.mkdir(parents=True)
    names = [f"Source_{n}" for n in range(200)]
    (meta / "lbl_map.json").write_text(json.dumps({name: n for n, name in enumerate(names)}))
    held, number = {}, 0
    for table, part, num in (("tr", "dev", 6), ("val", "dev", 3), ("eval", "eval", 4)):
        chunks = folder / "data" / f"{part}_chunks"
        chunks.mkdir(exist_ok=True)
        rows, held[table] = [], {}
        for _ in range(num):
            labels = f"{names[number]},{names[199 - number]}"
            held[table][str(1000 + number)] = []
            for chunk in range(1 + number % 3):
                file = chunks / f"{1000 + number}_{chunk:04d}.wav"
                samples = RNG.integers(-3000, 3000, 22_050)
                write_wav(file, samples)
                held[table][str(1000 + number)].append(samples)
                there = f"/home/author/fsd/data/{part}_chunks/{file.name}"
                rows.append((there, labels, 1000 + number))
            number += 1
        with (meta / f"{table}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("files", "labels", "ext"), *rows[::-1]])
    return held


def write_darcy_flow(folder: Path, *, num=(12, 4), hdf5=False):
    """Blocks of two permeabilities; the pressures are their numbers, so that rows are told."""
    folder.mkdir(parents=True)
    held = []
    for file, rows in zip((1, 2), num, strict=True):
        coeff = np.where(np.arange(421) % 50 < 25, 12.0, 3.0) * np.ones((rows, 421, 1))
        sol = np.arange(rows)[:, None, None] + np.linspace(0, 0.02, 421) + np.zeros((rows, 421, 1))
        coeff[:, 7] = 3.0
        path = folder / f"piececonst_r421_N1024_smooth{file}.mat"
        if hdf5:
            import h5py

            with h5py.File(path, "w", userblock_size=512) as opened:
                opened["coeff"], opened["sol"] = coeff.T, sol.T
        else:
            small = coeff.astype(np.uint8)  # as MATLAB packs whole numbers
            savemat(path, {"coeff": small, "sol": sol, "Kcoeff": coeff[:1]}, do_compression=True)
        held.append((coeff, sol))
    return held


def protein(length):
    """The features of residues and pairs, and distances along a curled chain."""
    turns = np.arange(length) / 6
    chain = np.stack([4 * np.cos(turns), 4 * np.sin(turns), turns], -1)
    distances = np.linalg.norm(chain[:, None] - chain, axis=-1)
    pair = {name: RNG.normal(size=(length, length)) for name in ("ccmpred", "freecon", "potential")}
    features = {
        "seq": "A" * length,
        "ss": RNG.normal(size=(3, length)),
        "pssm": RNG.normal(size=(length, 22)),
        "sa": RNG.normal(size=length),
        "entropy": RNG.normal(size=length),
        **pair,
    }
    return features, distances


def write_psicov(folder: Path, *, lengths=((40, 130, 60, 150, 33), (50, 200))):
    held = {}
    for name, sizes in zip(("deepcov", "psicov"), lengths, strict=True):
        for what in ("features", "distance"):
            (folder / name / what).mkdir(parents=True)
        names = [f"{name}{n}" for n in range(len(sizes))]
        (folder / f"{name}.lst").write_text("".join(f"{one} extra\n" for one in names))
        for one, length in zip(names, sizes, strict=True):
            features, distances = held[one] = protein(length)
            file = folder / name / "features" / f"{one}.pkl"
            file.write_bytes(pickle.dumps(features))
            packed = np.empty(3, object)
            packed[:] = [length, features["seq"], distances]
            np.save(folder / name / "distance" / f"{one}-cb.npy", packed, allow_pickle=True)
    return held


def write_cosmic(folder: Path):
    held = {}
    for part, visits in (("npy_train", ("10760/2", "13737/3")), ("npy_test", ("9490/a3",))):
        held[part] = []
        for visit in visits:
            for filtered in ("f435w", "f606w"):
                (folder / part / filtered / visit).mkdir(parents=True)
            here = folder / part / "f435w" / visit
            np.save(here / "sky.npy", RNG.normal(size=9))
            for number in range(1, 7):
                planes = RNG.normal(50, 9, (3, 256, 256)).astype(np.float32)
                planes[1:] = RNG.random((2, 256, 256)) < 0.1
                np.save(here / f"{number}_0.npy", planes[: 2 + number % 2])
                held[part].append(planes[: 2 + number % 2])
            np.save(folder / part / "f606w" / visit / "1_0.npy", planes)
        other = folder / part / "f435w" / "10595" / "2"  # a cluster of stars
        other.mkdir(parents=True)
        np.save(other / "1_0.npy", planes)
    return held


def write_ecg(folder: Path, *, num=30):
    folder.mkdir(parents=True)
    recordings = np.empty(num, object)
    recordings[:] = [
        (RNG.normal(0, 200, 1500 + 37 * n) + 10 * n).astype(np.int16) for n in range(num)
    ]
    labels = np.array([("NAO~")[n % 4] for n in range(num)], object)
    content = {"data": recordings, "label": labels}
    (folder / "challenge2017.pkl").write_bytes(pickle.dumps(content, 3))
    return recordings, labels


def write_satellite(folder: Path):
    folder.mkdir(parents=True)
    held = {}
    for part, num in (("train", 168), ("test", 24)):
        held[part] = {"data": RNG.normal(3000, 800, (num, 46)), "label": np.arange(num) % 24 + 1}
        np.save(folder / f"satellite_{part}.npy", held[part], allow_pickle=True)
    return held


def write_deepsea(folder: Path):
    folder.mkdir(parents=True)
    held = {}
    for part, num in (("train", 20), ("val", 5), ("test", 8)):
        held[f"x_{part}"] = np.eye(4, dtype=np.uint8)[RNG.integers(0, 4, (num, 1000))]
        held[f"y_{part}"] = (RNG.random((num, 36)) < 0.3).astype(np.uint8)
    np.savez(folder / "deepsea_filtered.npz", **held)
    return held


WRITERS = {
    "cifar100": write_cifar100,
    "spherical": write_spherical,
    "ninapro": write_ninapro,
    "fsd50k": write_fsd50k,
    "darcy_flow": write_darcy_flow,
    "psicov": write_psicov,
    "cosmic": write_cosmic,
    "ecg": write_ecg,
    "satellite": write_satellite,
    "deepsea": write_deepsea,
}
