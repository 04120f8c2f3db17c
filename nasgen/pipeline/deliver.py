"""The second half of a design run: the winner trained and handed over by `trained`, and the report.

report.md, figures/
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Key
from ml_collections import ConfigDict

from nasgen.networks.costs import count
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import trained
from nasgen.pipeline.config import UserError, flat
from nasgen.pipeline.finalists import read_finalists
from nasgen.pipeline.kept_search import found_scores
from nasgen.pipeline.request import Request
from nasgen.pipeline.stages import read_stage
from nasgen.pipeline.workdir import RESULTS
from nasgen.report.card import METHODS, tested
from nasgen.report.finalists import finalists_in_words
from nasgen.report.markdown import write_report
from nasgen.search.problem import fits
from nasgen.spaces.formats import architecture_from_json
from nasgen.training import metrics
from nasgen.types import Architecture

OURS = "nasgen"
FINALISTS = ("num_finalists", "winner_fitness_rank")


class Winner(NamedTuple):
    """Who is trained; `scored` is its place among what was scored, None where it is not there."""

    architecture: Architecture
    plan: Plan
    scored: int | None


def winner(config: ConfigDict, request: Request, folder: Path) -> Winner:
    """The finalist that trained best, or the network of the best exact score where there are none.
    With `train.excitation`, which adds to its costs, the first of them and of those that scored
    next that keeps the counted bounds; UserError where none does."""
    excitation = float(config.train.excitation)
    for written, scored in _in_order(folder):
        architecture = architecture_from_json(written, request.space)
        architecture = architecture._replace(excitation=excitation)
        plan = make_plan(architecture, request.space.ops, request.dataset.task)
        if not excitation or fits(count(plan), request.budget):
            return Winner(architecture, plan, scored)
    raise UserError(
        "`config.train.excitation` must leave a network of the search within the budget; got "
        f"{excitation:g}, with which none of them is: set it lower, or ask for a higher budget."
    )


def _in_order(folder: Path) -> Iterator[tuple[dict[str, Any], int | None]]:
    """Networks of the run, the one to be trained first, and their places among what was scored."""
    finalists = read_finalists(folder)
    if finalists is not None:
        best = finalists["networks"][finalists["winner"]]
        yield best["architecture"], best["scored"]
    found, _ = _found(folder)
    for place in np.argsort(-found_scores(found), kind="stable").tolist():
        yield found["architectures"][place], place


def train(
    config: ConfigDict, request: Request, folder: Path, *, key: Key[Array, ""]
) -> dict[str, Any]:
    """Trains the winner; validation picks the weights."""
    plan = winner(config, request, folder).plan
    return trained.train(config, request.dataset, plan, folder, key=key, teacher=request.teacher)


def hand_over(config: ConfigDict, request: Request, folder: Path) -> dict[str, Any]:
    """Tests the winner, exports it, writes the report."""
    chosen = winner(config, request, folder)
    architecture, plan, _ = chosen
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
            "chosen": finalists and finalists_in_words(finalists, request.dataset.task),
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
        candidates=_marked(candidates, folder, chosen),
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


def _marked(candidates: dict[str, np.ndarray], folder: Path, chosen: Winner) -> dict[str, Any]:
    """The candidates with a mask of those scored exactly, told by their costs, and the winner,
    which joins them where it was drawn at random."""
    found, _ = _found(folder)
    exact = np.zeros(len(candidates["params"]), bool)
    places = []
    for params, macs in zip(found["params"], found["macs"], strict=True):
        same = (candidates["params"] == params) & (candidates["macs"] == macs)
        places.append(int(np.flatnonzero(same & ~exact)[0]))
        exact[places[-1]] = True
    marked = {**candidates, "exact": exact}
    if chosen.scored is not None:
        return {**marked, "winner": places[chosen.scored]}
    used = count(chosen.plan)
    row = {"params": used.params, "macs": used.macs, "fits": True, "exact": False}
    return {**{n: np.append(marked[n], row[n]) for n in row}, "winner": len(exact)}


def results(
    config: ConfigDict, folder: Path, request: Request, stage_names: list[str]
) -> dict[str, Any]:
    """What results.json says of a run of these stages: flat, named figures."""
    stages = {name: read_stage(folder, name) for name in stage_names}
    outcome = dict(stages["deliver"])
    used = count(winner(config, request, folder).plan)._asdict()
    budget = {f"budget_{n}": b for n, b in request.budget._asdict().items() if b is not None}
    best = {
        f"best_score_{OURS if name == 'ours' else name}": outcome[f"method.{name}.best_score"]
        for name in METHODS
        if f"method.{name}.best_score" in outcome
    }
    seconds = {f"seconds/{name}": stage["seconds"] for name, stage in stages.items()}
    halved = stages.get("finalists", {})
    return {
        **{n: value for n, value in outcome.items() if n.startswith(("test_", "validation_"))},
        "kept_step": outcome["kept_step"],
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
    }


def in_words(folder: Path) -> str:
    """What came out, in two lines for the terminal."""
    results = json.loads((folder / RESULTS).read_text())
    return (
        f"{tested(results)} with {results['params']:,} parameters and {results['macs']:,} MACs\n"
        f"The network, to use without nasgen: {folder / 'network'}"
    )
