"""A search that is kept: its state lies in the workdir, and the same call goes on from there.

    searches/NAME-EVALUATIONS.json  what was scored, see `found_to_json`; where the method stands
    searches/NAME-EVALUATIONS.npz   parts of the scores, costs, seconds, all that was proposed

with a sha256 manifest, `stages/NAME-state.json`, written last: what it names is whole. A state is
written from time to time; what is scored goes into `searches/NAME.jsonl` at once (see `journal`),
so that a process that dies loses the one that it was scoring.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from nasgen import processes
from nasgen.arrays import flatten
from nasgen.pipeline import journal
from nasgen.pipeline.environment import release_memory
from nasgen.pipeline.workdir import (
    STAGES,
    Workdir,
    finish_stage,
    save_arrays,
    stage_done,
    write_json,
)
from nasgen.search.loop import search
from nasgen.search.methods import Method
from nasgen.search.problem import Parts, Problem, finite
from nasgen.search.state import Proposed, SearchState, scores
from nasgen.spaces import Space
from nasgen.spaces.formats import architecture_from_json, architecture_to_json
from nasgen.training.progress import progress
from nasgen.types import Architecture, Costs

FOLDER = "searches"
_SECONDS = 20.0  # between states that are written
_PLAIN = ("round", "population", "exhausted")


def kept_search(
    workdir: Workdir,
    name: str,
    key: Key[Array, ""],
    method: Method,
    problem: Problem,
    evaluations: int,
    *,
    space: Space,
    seconds_between: float = _SECONDS,
    on_state: Callable[[SearchState], None] = lambda state: None,
) -> SearchState:
    """`search.loop.search` under this name, from where an earlier call with the same arguments
    stood. States are written from time to time and in the end; no result depends on when."""
    problem = problem._replace(measure=_journaled(workdir, name, problem, space))
    state, written = load_state(workdir, name, problem, space), time.monotonic()
    start = 0 if state is None else state.evaluations
    with progress(evaluations, label=f"{name}: exact scores", start=start) as report:

        def keep(now: SearchState) -> None:
            nonlocal written
            report(now.evaluations, f"best {scores(now, problem).max():.6g}")
            if time.monotonic() - written >= seconds_between:
                save_state(workdir, name, now, problem, space)
                release_memory()
                written = time.monotonic()
            on_state(now)

        found = search(key, method, problem, evaluations, state=state, on_state=keep)
    if found is not state:
        save_state(workdir, name, found, problem, space)
    return found


def journal_file(workdir: Workdir, name: str) -> Path:
    """Where all scores of a search lie; it is there once one was taken."""
    return workdir.path / FOLDER / f"{name}.jsonl"


def _journaled(
    workdir: Workdir, name: str, problem: Problem, space: Space
) -> Callable[[Sequence[Architecture]], Parts]:
    """`problem.measure`, as many networks at a time as there are devices, each kept at once; what
    was kept before is not measured."""
    path = journal_file(workdir, name)
    known = {row["architecture"]: row["parts"] for row in journal.read(path)}
    together = jax.device_count()

    def measure(architectures: Sequence[Architecture]) -> Parts:
        written = [json.dumps(architecture_to_json(one, space)) for one in architectures]
        names = [hashlib.sha256(one.encode()).hexdigest() for one in written]
        left = [index for index, one in enumerate(names) if one not in known]
        path.parent.mkdir(exist_ok=True)
        for start in range(0, len(left), together):
            some = left[start : start + together]
            found = problem.measure([architectures[index] for index in some])
            for index, parts in zip(some, np.asarray(found).tolist(), strict=True):
                known[names[index]] = parts
                journal.append(path, {"architecture": names[index], "parts": parts})
        rows = [known[one] for one in names]
        return np.array(rows, float).reshape(len(names), len(problem.names))

    return measure


def save_state(
    workdir: Workdir, name: str, state: SearchState, problem: Problem, space: Space
) -> None:
    """Writes the state, then its manifest, then removes what the manifest named before; in the
    first process of a run."""
    if not processes.is_first():
        return
    folder = workdir.path / FOLDER
    folder.mkdir(exist_ok=True)
    stem = f"{name}-{state.evaluations}-{state.round}"
    arrays = {"parts": state.parts, "seconds": state.seconds}
    arrays |= flatten(state.costs, "costs") | flatten(state.proposed, "proposed")
    save_arrays(folder / f"{stem}.npz", **arrays)
    plain = {field: getattr(state, field) for field in _PLAIN}
    write_json(folder / f"{stem}.json", {**plain, **found_to_json(state, problem, space)})
    files = [f"{FOLDER}/{stem}.json", f"{FOLDER}/{stem}.npz"]
    finish_stage(workdir, f"{name}-state", files)
    for old in folder.glob(f"{name}-*"):
        if old.stem != stem:
            old.unlink()


def load_state(workdir: Workdir, name: str, problem: Problem, space: Space) -> SearchState | None:
    """The state of this name, None where there is no whole one, or it holds other parts of scores,
    as those of an earlier version do."""
    manifest = workdir.path / STAGES / f"{name}-state.json"
    if not stage_done(workdir, f"{name}-state"):
        return None
    files = processes.from_first(lambda: sorted(json.loads(manifest.read_text())["files"]))
    state = _read_state(*(workdir.path / one for one in files), problem, space)
    processes.wait_for_all(f"read {name}-state")  # before anybody goes on and replaces it
    return state if state.parts.shape[1] == len(problem.names) else None


def _read_state(about: Path, arrays: Path, problem: Problem, space: Space) -> SearchState:
    values: dict[str, Any] = json.loads(about.read_text())
    networks = [architecture_from_json(one, space) for one in values["architectures"]]
    with np.load(arrays) as file:
        return SearchState(
            architectures=tuple(networks),
            parts=file["parts"],
            costs=_record(Costs, file, "costs"),
            seconds=file["seconds"],
            round=values["round"],
            population=tuple(values["population"]),
            seen=frozenset(map(problem.identity, networks)),
            proposed=_record(Proposed, file, "proposed"),
            exhausted=values["exhausted"],
        )


def found_to_json(state: SearchState, problem: Problem, space: Space) -> dict[str, Any]:
    """What a method found, for its file: networks in the order scored, with scores, their
    parts, costs, the seconds of the search that had gone by, and of those whose score is no number
    the reason."""
    why = {
        str(index): ", ".join(f"{n} is {value}" for n, value in parts if not np.isfinite(value))
        for index, row in enumerate(state.parts)
        if (parts := list(zip(problem.names, row.tolist(), strict=True)))
        and not np.isfinite(row).all()
    }
    return {
        "architectures": [architecture_to_json(one, space) for one in state.architectures],
        "scores": scores(state, problem),
        "not_finite": why,
        "params": state.costs.params,
        "macs": state.costs.macs,
        "seconds": state.seconds[-1],
        "seconds_at": state.seconds,
        "parts": dict(zip(problem.names, state.parts.T, strict=True)),
    }


def found_scores(found: Mapping[str, Any]) -> Float[np.ndarray, " evaluations"]:
    """The scores of such a file, where JSON has null for what is not finite: -inf."""
    return finite(np.array(found["scores"], float))


def _record(kind, file, name: str) -> Any:
    return kind(*(file[f"{name}/{field}"] for field in kind._fields))
