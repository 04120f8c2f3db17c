"""Trains and scores networks, one file each, by several processes of one thread.

Every network is a pure function of its row and the config, so it does not matter which process
takes it, how many there are, or how often the run was interrupted.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from itertools import zip_longest
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import numpy as np

from nasgen.data.task import Dataset, Split
from nasgen.keys import generator
from nasgen.networks.plans.open import make_plan
from nasgen.networks.programs import PROGRAMS
from nasgen.pipeline.environment import changed_variables, keep_memory
from nasgen.proxies import PROXIES, Proxy
from nasgen.proxies.engine import score
from nasgen.spaces import SPACES
from nasgen.spaces.formats import architecture_from_json
from nasgen.training.brief import BriefRecipe, signatures, train_briefly
from nasgen.training.progress import progress
from nasgen.types import Task

# What a proxy must not need: second derivatives, or a walk for each example.
_SLOW = {"curvature", "sign_sums", "ntk"}
CHEAP = tuple(
    name
    for name, proxy in PROXIES.items()
    if isinstance(proxy, Proxy) and proxy.needs and not _SLOW & set(proxy.needs)
)
_ONE_THREAD = {  # on a CPU: several processes cannot share an accelerator's memory
    "JAX_PLATFORMS": "cpu",
    "NPROC": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


def save_data(folder: Path, dataset: Dataset, num_train: int, num_evaluation: int) -> list[str]:
    """So many images of both parts as plain arrays, which processes can share; where there are
    more, evenly from first to last, since folders come class by class. Validation images judge
    here; the test images stay for finished networks."""
    parts = {
        "train": _evenly(dataset.train, num_train),
        "evaluation": _evenly(dataset.validation, num_evaluation),
    }
    files = []
    for part, split in parts.items():
        for name, array in split._asdict().items():
            files.append(f"{dataset.task.name}_{part}_{name}.npy")
            np.save(folder / files[-1], array)
    return files


def _evenly(split: Split, num: int) -> Split:
    if num >= len(split.y):
        return split
    places = np.linspace(0, len(split.y) - 1, num).round().astype(int)
    return Split(*(array[places] for array in split))


@cache
def _load(folder: Path, task: str, part: str) -> Split:
    return Split(*(np.load(folder / f"{task}_{part}_{n}.npy", mmap_mode="r") for n in "xy"))


def train_all(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    *,
    workers: int,
    on_trained: Callable[[int], None] = lambda done: None,
) -> None:
    """Writes `parts/NUMBER.npz` for each row whose file is missing, or of another row;
    `on_trained` is told how many there are.

    rows: JSON values; see `train_one`."""
    parts = folder / "parts"
    parts.mkdir(exist_ok=True)
    for torn in parts.glob(".*"):
        torn.unlink()
    left = [i for i in by_turns(rows) if not is_trained(folder, i, rows[i])]
    cached = jax.config.jax_compilation_cache_dir
    start = dict(mp_context=get_context("spawn"), initializer=_begin, initargs=(cached,))
    with (
        changed_variables(_ONE_THREAD),
        progress(len(rows), start=len(rows) - len(left), label="training networks") as report,
        ProcessPoolExecutor(workers, **start) as pool,
    ):
        running = {pool.submit(train_one, folder, i, rows[i]): i for i in left}
        try:
            for number, done in enumerate(as_completed(running), len(rows) - len(left) + 1):
                report(number, done.result())
                on_trained(number)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in active_children():
                worker.terminate()
            raise


def by_turns(rows: Sequence[dict[str, Any]]) -> list[int]:
    """The rows' indices, tasks and lengths of training by turns, so that a table of a part of them
    knows of all."""
    kinds: dict[tuple[str, int], list[int]] = {}
    for index, row in enumerate(rows):
        kinds.setdefault((row["task"]["name"], max(row["recipe"]["steps"])), []).append(index)
    turns = zip_longest(*kinds.values())
    return [index for turn in turns for index in turn if index is not None]


def _begin(cached: str | None) -> None:
    """In a new process: it ends with the one that started it, and keeps compiled programs where
    the others do."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    keep_memory()
    jax.config.update("jax_compilation_cache_dir", cached)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.02)


def _follow_parent() -> None:
    parent_process().join()
    os._exit(1)


def part_file(folder: Path, index: int) -> Path:
    """The file of a row."""
    return folder / "parts" / f"{index:05d}.npz"


def is_trained(folder: Path, index: int, row: dict[str, Any]) -> bool:
    """Whether the file of a row is there, whole, and of this row."""
    try:
        with np.load(part_file(folder, index)) as held:
            # those of earlier versions do not say of which row they are
            return "row" not in held.files or str(held["row"]) == _hash(row)
    except (OSError, ValueError, EOFError, BadZipFile):
        return False


def _hash(row: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


def train_one(folder: Path, index: int, row: dict[str, Any]) -> str:
    """Scores and trains one network, and writes its file whole or not at all; a word on it.

    row: `task` (fields of `Task`), `architecture`, `recipe` (fields of `BriefRecipe`), `seed`,
    `score_batch`, `proxies` (names; left out, all of `CHEAP`). cpu_seconds: of scoring and
    compiling (`prepare`), and of the training."""
    task = Task(**{**row["task"], "input_shape": tuple(row["task"]["input_shape"])})
    architecture = architecture_from_json(row["architecture"], SPACES["open"])
    plan = make_plan(architecture, SPACES["open"].ops, task)
    train, evaluation = (_load(folder, task.name, part) for part in ("train", "evaluation"))
    key = jax.random.key(row["seed"])
    chosen = generator(key).choice(len(train.y), row["score_batch"], replace=False)
    proxies = {name: PROXIES[name] for name in row.get("proxies", CHEAP)}
    started = time.process_time()
    batch = train.x[np.sort(chosen)], train.y[np.sort(chosen)]
    columns = score([plan], proxies, key, *batch, threads=1).values if proxies else {}
    recipe = BriefRecipe(**{**row["recipe"], "steps": tuple(row["recipe"]["steps"])})
    PROGRAMS.compile(signatures(plan, min(recipe.batch_size, len(train.y))), threads=1)
    prepared = time.process_time()
    brief = train_briefly(plan, task, train, evaluation, recipe, seed=row["seed"])
    spent = {"prepare": prepared - started, "train": time.process_time() - prepared}
    values = {name: float(column[0]) for name, column in columns.items()}
    file = part_file(folder, index)
    with (file.parent / f".{file.name}").open("wb") as stream:
        arrays = {name: getattr(brief, name) for name in ("losses", "train_losses", "seconds")}
        known = _json(proxies=values, cpu_seconds=spent)
        np.savez(stream, accuracies=brief.values, row=_hash(row), **arrays, **known)
    os.replace(file.parent / f".{file.name}", file)
    return f"{task.name} {brief.values[-1]:.1%} in {brief.seconds:.0f} s"


def _json(**values: Any) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in values.items()}


def read_part(folder: Path, index: int) -> dict[str, Any]:
    """What `train_one` wrote for a row."""
    with np.load(part_file(folder, index)) as held:
        found = {name: held[name] for name in held.files}
    return found | {name: json.loads(str(found[name])) for name in ("proxies", "cpu_seconds")}
