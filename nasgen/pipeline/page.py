"""The page of a run's folder, `report.html`: whole at the end, so far while it runs.

It reads what stages have kept and counts costs; nothing is computed that a model would have to say.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasgen import pretrained
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.config import UserError, flat
from nasgen.pipeline.task_data import read_task
from nasgen.pipeline.workdir import CONFIG, ENVIRONMENT, RESULTS, STAGES, TASK
from nasgen.report.page.comparison import comparison
from nasgen.report.page.html import LIMIT, page
from nasgen.report.page.run import OURS, WINNER, Network, Pretraining, Run, finalist_name
from nasgen.report.page.search import pareto_of, scores_of
from nasgen.spaces.formats import architecture_from_json
from nasgen.spaces.open import SPACE
from nasgen.training import metrics
from nasgen.types import Budget, Task

PAGE = "report.html"
_STAGES = {
    "design": ("search", "baselines", "finalists", "metric_map", "train", "deliver"),
    "compare": ("search", "baselines", "finalists", "metric_map", "train", "deliver"),
    "train_model": ("train", "deliver"),
}
# Networks of each method that a click opens: as many as the page has room for.
_OPENED = (48, 24, 12, 6, 3)


def write_page(folder: Path) -> Path:
    """Writes `folder/report.html`; returns its path. Raises UserError where there is no run."""
    for most in _OPENED:
        text = page(read_run(folder, most=most))
        if len(text.encode()) <= LIMIT:
            break
    return _write(text, folder / PAGE)


def write_comparison(folders: Sequence[Path], path: Path) -> Path:
    """Writes the page of several runs, by the shortest ends of their paths that tell them apart.
    Raises UserError where a folder holds no run, or is named twice."""
    whole = [folder.expanduser().resolve() for folder in folders]
    if len(set(whole)) < len(whole):
        raise UserError("`WORKDIR` must be different folders; one is named twice.")
    parts = next(n for n in range(1, 1_000) if len({one.parts[-n:] for one in whole}) == len(whole))
    runs = {"/".join(one.parts[-parts:]): read_run(one, most=0) for one in whole}
    return _write(comparison(runs), path)


def _write(text: str, path: Path) -> Path:
    """A file that is there whole or as before. Raises UserError where it cannot be."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from None
    return path


def read_run(folder: Path, *, most: int = _OPENED[0]) -> Run:
    """What a folder holds of a run. most: networks of each method that can be looked at, by score.
    Raises UserError where there is no run."""
    if not (folder / CONFIG).is_file():
        raise UserError(f"the workdir of a run holds {CONFIG}; {folder} holds none: name another.")
    config = json.loads((folder / CONFIG).read_text())
    pipeline, settings = config.get("pipeline", "design"), flat(config)
    names = [
        n for n in _STAGES.get(pipeline, ()) if n != "finalists" or settings["design.finalists"]
    ]
    manifests = {path.stem for path in (folder / STAGES).glob("*.json")}
    done = {name for name in manifests if (folder / f"stage_{name}.json").exists()}
    order = [*names, *sorted(done - set(names))]
    run = Run(
        folder=folder.resolve().name,
        pipeline=pipeline,
        config=settings,
        environment=_json(folder / ENVIRONMENT) or {},
        results=_json(folder / RESULTS) or {},
        stages={n: _json(folder / f"stage_{n}.json") or {} for n in order if n in done},
        to_come=[name for name in names if name not in done],
        budget=Budget(**config.get("budget", {})),
    )
    if pipeline not in _STAGES or not (folder / TASK).is_file():
        return run
    task, data = read_task(folder)
    run = run._replace(
        task=task,
        data=data,
        ops=SPACE.ops,
        methods=_methods(folder, run),
        candidates=_arrays(folder / "candidates.npz") if "search" in done else None,
        finalists=_json(folder / "finalists.json"),
        cell_map=_arrays(folder / "metric_map.npz") if "metric_map" in done else None,
        history=metrics.read(folder / "train" / "metrics.jsonl"),
        predictions=_arrays(folder / "predictions.npz") if "deliver" in done else None,
        layer_times=_json(folder / "layer_times.json") if "deliver" in done else None,
    )
    if "pretrained" in config:
        run = run._replace(**_weights(config["pretrained"]))
    return run._replace(networks=_networks(folder, run, task, most))


def _json(path: Path) -> Any:
    """What a file holds; None where it is not there."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def _arrays(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file; None where it is not there, as in folders of earlier versions."""
    try:
        with np.load(path) as file:
            return dict(file)
    except FileNotFoundError:
        return None


def _methods(folder: Path, run: Run) -> dict[str, Mapping[str, Any]]:
    """What each search found: in the end, or so far."""
    found = {OURS: _json(folder / "search.json") or _so_far(folder, "nasgen")}
    kept = _json(folder / "baselines.json")
    for name in run.config.get("design.baselines", ()):
        found[name] = kept.get(name) if kept is not None else _so_far(folder, name)
    return {name: one for name, one in found.items() if one and one["scores"]}


def _so_far(folder: Path, name: str) -> Any:
    """The last state that a search has kept."""
    manifest = _json(folder / STAGES / f"{name}-state.json")
    files = [] if manifest is None else [n for n in manifest["files"] if n.endswith(".json")]
    return _json(folder / files[0]) if files else None


def _weights(name: str) -> dict[str, Any]:
    """Clusters in words, and what pretraining took, of the weights' cards where they are still
    there."""
    cards = {}
    for part in pretrained.PARTS:
        try:
            cards[part] = json.loads(pretrained.find(name, part)[1].read_text())
        except ValueError:
            continue
    words = {one["number"]: one["words"] for one in cards.get("cells", {}).get("clusters", ())}
    spent = [
        Pretraining(part, card["figures"]["seconds_total"])
        for part, card in cards.items()
        if "seconds_total" in card.get("figures", {})
    ]
    return {"clusters": words, "pretraining": spent}


def _networks(folder: Path, run: Run, task: Task, most: int) -> dict[str, Network]:
    """The winner, the finalists, and of each method the best and the Pareto set."""

    def network(name: str, title: str, written: Any) -> Network:
        architecture = architecture_from_json(written, SPACE)
        return Network(name, title, architecture, make_plan(architecture, SPACE.ops, task))

    found = {}
    for method, one in run.methods.items():
        scores = scores_of(one)
        order = np.argsort(-scores, kind="stable")[:most].tolist()
        best = [place for cost in ("params", "macs") for place in pareto_of(one, cost)][:most]
        for place in dict.fromkeys([*order, *best]):
            name, words = f"{method}-{place}", f"network {place + 1} of {len(scores)}"
            found[name] = network(name, words, one["architectures"][place])
    kept = run.finalists or {"networks": (), "winner": None}
    for index, one in enumerate(kept["networks"]):
        name = finalist_name(kept, index)
        found[name] = network(name, f"finalist {index + 1}", one["architecture"])
    delivered = _json(folder / "network" / "architecture.json") if "deliver" in run.stages else None
    chosen = _chosen(run)
    if delivered is not None or chosen is not None:
        title = "the network delivered" if delivered else "the network chosen"
        found[WINNER] = network(WINNER, title, delivered or chosen)
    return found


def _chosen(run: Run) -> Any:
    """The architecture that is to be trained, None where none has been chosen."""
    if run.finalists is not None and run.finalists["winner"] is not None:
        return run.finalists["networks"][run.finalists["winner"]]["architecture"]
    if "search" in run.stages and not run.config["design.finalists"]:
        found = run.methods[OURS]
        return found["architectures"][int(np.argmax(scores_of(found)))]
    return None
