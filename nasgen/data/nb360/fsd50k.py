"""FSD50K (Fonseca et al., TASLP 2022): a second of sound as an image, 96 bands of pitch by 101
moments, and which of 200 sources are heard, 1 - mean average precision.

`audio.zip` unpacked: `data/chunks/` with `tr.csv`, `val.csv`, `eval.csv` (columns `files`,
`labels`, `ext`) and `lbl_map.json`, and the chunks that they name, one second each as .wav, of 16
bits and 22,050 a second. The parts are kept: some 37,000, 4,000 and 10,000 clips. A clip's example
is one of its chunks: for training the one that `seed` draws, else the middle one. Only the tables
are held in memory; a batch reads its chunks and computes their spectrograms, about 5 ms each on one
core. As float32 all would take 2 GB.

The benchmark draws a new chunk of a clip in each epoch, mixes in noise, and averages what the
network says of all chunks of a clip before it takes the precision.
"""

import csv
import json
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nasgen.data.mel import BANDS, HOP, RATE, log_mel
from nasgen.data.rows import one_by_one
from nasgen.data.task import Dataset, Split, standardised
from nasgen.types import Task

KIND = "multi_label"
TASK = Task(
    "fsd50k",
    (BANDS, RATE // HOP + 1, 1),
    200,
    KIND,
    "mean_average_precision",
    "binary_cross_entropy",
)
FOLDER = "audio"
META, MAP = Path("data/chunks"), "lbl_map.json"
TABLES = ("tr.csv", "val.csv", "eval.csv")
FILES = tuple(str(META / name) for name in (*TABLES, MAP))
NOTE = "Of each clip one second is heard; the benchmark averages over all seconds of a clip."


def load(folder: Path, *, seed: int = 0) -> Dataset:
    """The data set. Raises ValueError, in one line, where a file will not do; a broken sound is
    named when it is read."""
    classes = _classes(folder / META / MAP)
    names = tuple(sorted(classes, key=classes.get))
    rng = np.random.default_rng(seed)
    parts = []
    for table in TABLES:
        draws = rng if table == TABLES[0] else None
        parts.append(_part(folder, folder / META / table, classes, draws))
    return standardised(TASK._replace(class_names=names), *parts, notes=(NOTE,))


def _classes(file: Path) -> dict[str, int]:
    """Names of classes and their numbers."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"`path` {file.name} must be JSON: {reason}.") from None
    numbers = sorted(found.values(), key=str) if isinstance(found, dict) else ()
    if {type(one) for one in numbers} != {int} or sorted(numbers) != list(range(TASK.num_classes)):
        raise ValueError(
            f"`path` {file.name} must number {TASK.num_classes} classes from 0; it does not."
        )
    return found


def _part(
    folder: Path, table: Path, classes: Mapping[str, int], draws: np.random.Generator | None
) -> Split:
    """An example a clip, in the order of their names. draws: of its chunk; none: the middle."""
    chunks, labels = _clips(table)
    y = np.zeros((len(chunks), TASK.num_classes), np.float32)
    chosen = []
    for row, clip in enumerate(sorted(chunks)):
        files = sorted(chunks[clip])
        number = len(files) // 2 if draws is None else int(draws.integers(len(files)))
        chosen.append(files[number])
        for name in labels[clip].split(","):
            if name not in classes:
                raise ValueError(f"`path` {table.name} has the label {name!r}, not in {MAP}.")
            y[row, classes[name]] = 1
    paths = _paths(folder.resolve(), chosen, table)

    def read(index: int) -> Float[np.ndarray, "bands frames 1"]:
        return log_mel(_sound(paths[index]))[..., None]

    return Split(one_by_one(read, (len(y), *TASK.input_shape), threads=True), y)


def _clips(table: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The files of each clip, and its labels, by the clip's name."""
    chunks, labels = {}, {}
    try:
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, strict=True):
                chunks.setdefault(row["ext"], []).append(row["files"])
                labels[row["ext"]] = row["labels"]
    except (KeyError, csv.Error, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"`path` {table.name} must have columns files, labels and ext: {reason}."
        ) from None
    if not chunks or None in chunks or None in labels.values():
        raise ValueError(f"`path` {table.name} must have rows of files, labels and ext.")
    return chunks, labels


def _paths(folder: Path, files: list[str], table: Path) -> list[Path]:
    """Where the chunks lie: a table names them as they lay on its author's disk, so as many of the
    first folders of a name are left out as the first file needs. None leads out of the folder."""
    parts = Path(files[0]).parts
    dropped = next((n for n in range(len(parts)) if folder.joinpath(*parts[n:]).is_file()), None)
    if dropped is None or Path(*parts[dropped:]).is_absolute():
        raise ValueError(f"`path` {table.name} names {files[0]}, which is not below {folder}.")
    paths = [folder.joinpath(*Path(one).parts[dropped:]) for one in files]
    outside = [one for one in paths if ".." in one.parts or folder not in one.parents]
    if outside:
        raise ValueError(f"`path` {table.name} names {outside[0]}, which is not below {folder}.")
    return paths


def _sound(file: Path) -> Float[np.ndarray, " samples"]:
    """A second of the sound in -1..1; a shorter one is repeated, a longer one cropped."""
    try:
        with wave.open(str(file)) as sound:
            form = sound.getnchannels(), sound.getsampwidth(), sound.getframerate()
            raw = sound.readframes(RATE)
    except (wave.Error, OSError, EOFError) as error:
        reason = " ".join(str(error).split()) or "it ends early"
        raise ValueError(f"`path` {file.name} must be a .wav file: {reason}.") from None
    if form != (1, 2, RATE) or len(raw) < 2:
        raise ValueError(
            f"`path` {file.name} must be one channel of 16 bits, {RATE} a second, and not empty; "
            f"got {form[0]} of {8 * form[1]} bits, {form[2]} a second."
        )
    return np.resize(np.frombuffer(raw[: len(raw) // 2 * 2], "<i2") / np.float32(2**15), RATE)
