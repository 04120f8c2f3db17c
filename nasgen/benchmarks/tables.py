"""Tabular benchmarks and CIFAR-10 images, read from a folder of the user's; nothing is copied.

The folder is that of `data.folder`. Tables are Parquet files, read with pandas (the extra
`benchmarks`). Higher is better for every measure.
"""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nasgen.data import parquet
from nasgen.data.cifar10 import LOSSLESS
from nasgen.data.folder import beside_repository, data_file
from nasgen.pipeline.config import UserError

NB201, NB101, TRANSNAS = "nb201.parquet", "nb101.parquet", "transnas101_micro.parquet"
NB201_LATENCY, NB_MACRO = "nb201_latency.parquet", "nas_bench_macro.parquet"
NB101_CURVES = "nb101_multifid_20k.parquet"
NB201_PUBLISHED = "nb201_zerocost_naslib725.parquet"
SUITE_PUBLISHED = "nbsuitezero_naslib_subset.parquet"
CIFAR10_IMAGES = 4_000
NB201_MEASURES = {
    "cifar10": "cifar10_test_acc",
    "cifar100": "cifar100_test_acc",
    "ImageNet16-120": "in16_test_acc",
}
PROXY_COLUMNS = {
    "macs": "flops",
    "jacob_cov": "jacov",
}  # ours: the published name, where they differ
NOT_A_NUMBER = -1e8
CIFAR10_MEAN = (0.49139968, 0.48215841, 0.44653091)  # of the training images, of pixels in 0..1
CIFAR10_STD = (0.24703223, 0.24348513, 0.26158784)
_PIXELS = 32


class Table(NamedTuple):
    """architectures: each as its benchmark writes it: the string of NAS-Bench-201; of NAS-Bench-101
    an upper triangular matrix as a tuple of rows, and the digits of its inner nodes' ops; of
    TransNAS-Bench-101 the digits of six edges. measures: of each one, by data set or task."""

    architectures: Sequence[Any]
    measures: dict[str, Float[np.ndarray, " architectures"]]


class Published(NamedTuple):
    """Scores that others published. architectures: numbers of rows of NAS-Bench-201, or what
    `Table` holds. scores: by our names of proxies; nan where none was computed."""

    architectures: Sequence[Any]
    scores: dict[str, Float[np.ndarray, " architectures"]]


def reference_folder() -> Path:
    """The folder of reference networks, which may be absent: what `NASGEN_REFERENCE` names, else
    `../shared/reference` beside the repository."""
    return beside_repository("NASGEN_REFERENCE", "reference")


def require(*names: str) -> None:
    """Raises UserError for the first of the files that is missing, and where pandas is."""
    for name in names:
        _file(name)
    if any(name.endswith(".parquet") for name in names):
        _pandas()


def nb201() -> Table:
    """NAS-Bench-201, all 15,625 by number: mean test accuracy in % after 200 epochs."""
    frame = read(NB201)
    measures = {name: frame[column].to_numpy() for name, column in NB201_MEASURES.items()}
    return Table(frame["arch_str"].tolist(), measures)


def nb201_published(task: str = "cifar10") -> Published:
    """Scores of 725 architectures of NAS-Bench-201 on one of its data sets (NASLib)."""
    frame = read(NB201_PUBLISHED)
    frame = frame[frame["task"] == task]
    return Published(frame["index"].tolist(), _scores(frame))


def nb101(rows: Int[np.ndarray, " rows"]) -> Table:
    """The given rows of the 423,624 of NAS-Bench-101: mean test accuracy after 108 epochs, 0..1."""
    frame = read(NB101).iloc[rows]
    cells = zip(frame["n"], frame["adj_bits"], frame["ops"], strict=True)
    measures = {"cifar10": frame["test_acc_108"].to_numpy()}
    return Table([decode_nb101(int(n), int(bits), ops) for n, bits, ops in cells], measures)


NB101_ROWS = 423_624


def has_edge(bits, x: int, y: int):
    """Whether the edge x -> y, x < y, is among those of a number, or of each of an array."""
    return bits >> (x + y * (y - 1) // 2) & 1 == 1


def decode_nb101(
    num_nodes: int, bits: int, ops: str
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """The adjacency matrix (`has_edge`) and the inner nodes' ops."""
    matrix = tuple(
        tuple(int(x < y and has_edge(bits, x, y)) for y in range(num_nodes))
        for x in range(num_nodes)
    )
    return matrix, tuple(map(int, ops))


def transnas_micro() -> Table:
    """TransNAS-Bench-101 micro, all 4,096: the validation metric of seven tasks (of room layout the
    negative loss)."""
    frame = read(TRANSNAS)
    tasks = [c for c in frame.columns if c.startswith("val_")]
    measures = {c.removeprefix("val_"): frame[c].to_numpy() for c in tasks}
    return Table([ast.literal_eval(text) for text in frame["arch"]], measures)


def suite_published(benchmark: str, task: str) -> Published:
    """Scores by NAS-Bench-Suite-Zero; `benchmark` as `nasbench101` or `transnas101_micro`."""
    frame = read(SUITE_PUBLISHED)
    frame = frame[(frame["benchmark"] == benchmark) & (frame["task"] == task)]
    return Published([ast.literal_eval(text) for text in frame["arch"]], _scores(frame))


def cifar10_batch(
    rng: np.random.Generator, num: int, size: int = _PIXELS
) -> tuple[Float[np.ndarray, "num size size 3"], Int[np.ndarray, " num"]]:
    """Random images of CIFAR-10's first 4,000, normalised by its mean and deviation, and labels.

    size: in pixels, a divisor of 32 (means of squares) or a multiple (repeated pixels); else
    ValueError.
    """
    if size < 1 or (_PIXELS % size and size % _PIXELS):
        raise ValueError(f"`size` must divide {_PIXELS} or be a multiple of it; got {size}.")
    with np.load(_file(LOSSLESS)) as held:
        images, labels = held["x"], held["y"]
    if num > len(labels):
        raise ValueError(f"`num` must be at most {len(labels)}; got {num}.")
    rows = rng.choice(len(labels), num, replace=False)
    pixels = images[rows].astype(np.float64) / 255
    pixels = (pixels - np.array(CIFAR10_MEAN, ndmin=4)) / np.array(CIFAR10_STD, ndmin=4)
    if size < _PIXELS:
        step = _PIXELS // size
        pixels = pixels.reshape(num, size, step, size, step, 3).mean((2, 4))
    else:
        pixels = pixels.repeat(size // _PIXELS, 1).repeat(size // _PIXELS, 2)
    return pixels.astype(np.float32), labels[rows].astype(np.int32)


def _scores(frame) -> dict[str, np.ndarray]:
    ours = {published: name for name, published in PROXY_COLUMNS.items()}
    columns = [c for c in frame.columns if f"{c}_time" in frame.columns]
    found = {ours.get(c, c): frame[c].to_numpy(np.float64) for c in columns}
    return {name: np.where(v == NOT_A_NUMBER, np.nan, v) for name, v in found.items()}


def _file(name: str) -> Path:
    try:
        return data_file(name)
    except ValueError as error:
        raise UserError(str(error)) from None


def read(name: str):
    """The data frame in a file of the user's folder, read once: not to be changed. Raises UserError
    where it is not there."""
    return parquet.read(_file(name))


def _pandas() -> None:
    try:
        parquet.pandas()
    except ValueError as error:
        raise UserError(str(error)) from None
