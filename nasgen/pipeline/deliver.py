"""The second half of a design run: the winner trained and handed over by `trained`, and the report.

report.md, figures/
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, Key
from ml_collections import ConfigDict

from nasgen.networks.costs import count
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import trained
from nasgen.pipeline.config import flat
from nasgen.pipeline.finalists import read_finalists
from nasgen.pipeline.kept_search import found_scores
from nasgen.pipeline.request import Request
from nasgen.pipeline.stages import read_stage
from nasgen.pipeline.workdir import RESULTS, Workdir, write_results
from nasgen.report.card import METHODS
from nasgen.report.finalists import finalists_in_words
from nasgen.report.markdown import write_report
from nasgen.spaces.formats import architecture_from_json
from nasgen.training import metrics
from nasgen.types import Architecture

OURS = "nasgen"
FINALISTS = ("num_finalists", "winner_fitness_rank")


def winner(request: Request, folder: Path) -> tuple[Architecture, Plan]:
    """The finalist that trained best, or the network of the best exact score where there are none;
    and its plan."""
    finalists = read_finalists(folder)
    if finalists is None:
        found, best = _found(folder)
        chosen = found["architectures"][best]
    else:
        chosen = finalists["networks"][finalists["winner"]]["architecture"]
    architecture = architecture_from_json(chosen, request.space)
    return architecture, make_plan(architecture, request.space.ops, request.dataset.task)


def train(
    config: ConfigDict, request: Request, folder: Path, *, key: Key[Array, ""]
) -> dict[str, Any]:
    """Trains the winner; validation picks the weights."""
    _, plan = winner(request, folder)
    return trained.train(config, request.dataset, plan, folder, key=key, teacher=request.teacher)


def hand_over(config: ConfigDict, request: Request, folder: Path) -> dict[str, Any]:
    """Tests the winner, exports it, writes the report."""
    architecture, plan = winner(request, folder)
    finalists = read_finalists(folder)
    names = ("search", "baselines", *(("finalists",) if finalists else ()), "train")
    stages = {name: read_stage(folder, name) for name in names}
    outcome = trained.hand_over(
        config,
        request.dataset,
        architecture,
        plan,
        request.space,
        folder,
        stages=stages,
        predictor=request.latency,
        card={
            "budget": request.budget,
            "chosen": finalists and finalists_in_words(finalists),
        },
    )
    curves, methods = _methods(folder, stages)
    times = {f"seconds.{n}": s["seconds"] - s["seconds_compile"] for n, s in stages.items()}
    times |= {f"compile_seconds.{n}": s["seconds_compile"] for n, s in stages.items()}
    about = {"seed": config.seed, "fitness": config.design.fitness}
    about["command"] = " ".join(["python", *sys.argv])
    with np.load(folder / "candidates.npz") as file:
        candidates = {"params": file["params"], "macs": file["macs"], "fits": file["inside"]}
    write_report(
        folder,
        outcome | methods | times | about,
        candidates=_marked(candidates, folder),
        curves=curves,
        history=metrics.read(folder / "train" / "metrics.jsonl"),
        architecture=architecture,
        space=request.space,
        task=request.dataset.task,
        budget=request.budget,
        config=flat(config.to_dict()),
        finalists=finalists,
        figures=config.report.plots,
    )
    return outcome | methods


def _found(folder: Path) -> tuple[dict[str, Any], int]:
    """What nasgen scored, and the index of the best."""
    found = json.loads((folder / "search.json").read_text())
    return found, int(np.argmax(found_scores(found)))


def _methods(folder: Path, stages: dict) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Search curves, and figures of each method, named as the report wants them."""
    ours, _ = _found(folder)
    ours["seconds_compile"] = stages["search"]["seconds_compile"]
    found = {"ours": ours, **json.loads((folder / "baselines.json").read_text())}
    curves, figures = {}, {}
    for name, one in found.items():
        scores = found_scores(one)
        best = int(np.argmax(scores))
        curves[name] = np.maximum.accumulate(scores).tolist()
        figures |= {
            f"method.{name}.exact": len(scores),
            f"method.{name}.best_score": float(scores[best]),
            f"method.{name}.params": one["params"][best],
            f"method.{name}.macs": one["macs"][best],
            f"method.{name}.seconds": one["seconds"] - one["seconds_compile"],
        }
    figures["method.ours.sampled"] = stages["search"]["num_proposed"]
    figures["method.ours.fit"] = stages["search"]["num_inside"]
    return curves, figures


def _marked(candidates: dict[str, np.ndarray], folder: Path) -> dict[str, Any]:
    """The candidates with a mask of those scored exactly, told by their costs, and the winner,
    where it is one of them."""
    found, best = _found(folder)
    finalists = read_finalists(folder)
    if finalists is not None:
        best = finalists["networks"][finalists["winner"]]["scored"]
    exact = np.zeros(len(candidates["params"]), bool)
    places = []
    for params, macs in zip(found["params"], found["macs"], strict=True):
        same = (candidates["params"] == params) & (candidates["macs"] == macs)
        places.append(int(np.flatnonzero(same & ~exact)[0]))
        exact[places[-1]] = True
    return {**candidates, "exact": exact, "winner": None if best is None else places[best]}


def finish(workdir: Workdir, request: Request, stage_names: list[str]) -> None:
    """Writes results.json: flat, named figures."""
    folder = workdir.path
    stages = {name: read_stage(folder, name) for name in stage_names}
    outcome = dict(stages["deliver"])
    _, plan = winner(request, folder)
    used = count(plan)._asdict()
    budget = {f"budget_{n}": b for n, b in request.budget._asdict().items() if b is not None}
    best = {
        f"best_score_{OURS if name == 'ours' else name}": outcome[f"method.{name}.best_score"]
        for name in METHODS
        if f"method.{name}.best_score" in outcome
    }
    seconds = {f"seconds/{name}": stage["seconds"] for name, stage in stages.items()}
    halved = stages.get("finalists", {})
    write_results(
        workdir,
        {
            **{name: outcome[name] for name in ("test_accuracy", "test_examples")},
            **{name: outcome[name] for name in ("validation_accuracy", "kept_step")},
            **used,
            **{name: value for name, value in outcome.items() if name.startswith("latency_ms")},
            **budget,
            **best,
            "num_exact_evaluations": outcome["method.ours.exact"],
            "num_proposed": outcome["method.ours.sampled"],
            "num_inside_budget": outcome["method.ours.fit"],
            "share_inside_first_round": stages["search"]["share_inside_first_round"],
            **{name: halved[name] for name in FINALISTS if name in halved},
            **seconds,
            "seconds_total": sum(seconds.values()),
            "seconds_compile": sum(stage["seconds_compile"] for stage in stages.values()),
        },
    )


def in_words(folder: Path) -> str:
    """What came out, in three lines for the terminal."""
    results = json.loads((folder / RESULTS).read_text())
    return (
        f"Test accuracy {results['test_accuracy']:.1%} with {results['params']:,} parameters and "
        f"{results['macs']:,} MACs\n"
        f"The network, to use without nasgen: {folder / 'network'}\n"
        f"The report: {folder / 'report.md'}"
    )
