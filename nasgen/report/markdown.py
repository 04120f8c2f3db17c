"""The report of a design run: one page of Markdown with its figures beside it.

What it reads of the flat results, all optional:

    test_METRIC with its _low and _high, test_examples, validation_METRIC: of the task's metric
    kept_step, seed, fitness, command
    latency_ms_predicted, latency_ms_measured, latency_ms_measured_32, latency_device
    method.NAME.MEASURE       of `ours`, `random`, `evolution`: see `MEASURES`
    seconds.STAGE             running, in the order of the keys
    compile_seconds.STAGE     compiling, not part of the above

Figures need matplotlib; without it the page stands alone and says how to get them.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasgen.networks import costs
from nasgen.networks.plans.open import make_plan
from nasgen.report import pictures, words
from nasgen.report.card import (
    METHODS,
    budget_table,
    defined,
    number,
    plain,
    score,
    short,
    stages_table,
    table,
)
from nasgen.report.finalists import finalists_table
from nasgen.spaces.space import Space
from nasgen.types import METRICS, Architecture, Budget, Costs, Task

REPORT = "report.md"
MEASURES = {
    "sampled": "Networks generated",
    "fit": "Within the budget",
    "exact": "Scored exactly",
    "best_score": "Best score",
    "params": "Parameters",
    "macs": "MACs",
    "seconds": "Seconds",
}
_NO_FIGURES = (
    "*This page has no figures, since matplotlib is not installed here. To get them: "
    "`pip install matplotlib`, delete this file, and give the command of the run again.*"
)

_IMAGES = "[number, height, width, channels]"
_SCORES = {
    "predicted_accuracy": (
        "A score is the accuracy that is predicted after the training's steps, in standard "
        "deviations among networks that were trained on one task."
    ),
    "t_cet": (
        "A score is T-CET, a sum over layers at initialisation: it favours depth, and promises no "
        "accuracy."
    ),
}


def write_report(
    folder: str | os.PathLike,
    results: Mapping[str, Any],
    *,
    candidates: Mapping[str, Any],
    curves: Mapping[str, Sequence[float]],
    history: Sequence[Mapping[str, Any]],
    architecture: Architecture,
    space: Space,
    task: Task,
    budget: Budget,
    config: Mapping[str, Any] | None = None,
    finalists: Mapping[str, Any] | None = None,
    network: str = "network",
    figures: bool = True,
) -> Path:
    """Writes `folder/report.md` and its figures; returns the page's path.

    results: see above. candidates: arrays `params` and `macs` of every network sampled, and
    optionally masks `fits` (by default from the budget) and `exact`, and `winner`, an index.
    curves: of each method the best exact score after each exact score. history: rows of the
    training. config: the run's flat settings. finalists: see `report.finalists`. network: the
    exported network's folder in `folder`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn, used = {}, costs.count(make_plan(architecture, space.ops, task))
    if figures:
        drawn = _draw(
            folder, results, used, candidates, curves, history, architecture, space, budget, task
        )
    parts = [
        f"# A network for {plain(task.name)}",
        _summary(results, task, used),
        _NO_FIGURES if drawn is None else "",
        "## Asked and delivered",
        budget_table(budget, used, results, task),
        _metric(results, task),
        "## The network",
        stages_table(architecture, space, task),
        _figure(drawn, "cells", "The cell of each stage as a graph."),
        "## The search",
        _methods(results),
        _SCORES.get(str(results.get("fitness")), ""),
        _figure(drawn, "search", "Best score so far of each method against networks scored."),
        _figure(drawn, "candidates", "Parameters against MACs of all candidates."),
        "## The finalists",
        finalists_table(finalists, task) if finalists else "",
        "## The training",
        _figure(drawn, "training", f"Training loss and validation {words.title(task)} over steps."),
        _training(results, task),
        "## Where the time went",
        _times(results),
        "## Use it",
        _use(folder, network, task),
        "## Do it again",
        _again(results, config),
    ]
    text = "\n\n".join(_without_empty_sections([part for part in parts if part])) + "\n"
    unfinished = folder / f".{REPORT}.new"
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, folder / REPORT)
    return folder / REPORT


def _without_empty_sections(parts: list[str]) -> Iterator[str]:
    for part, following in zip(parts, [*parts[1:], "## "], strict=True):
        if not (part.startswith("## ") and following.startswith("## ")):
            yield part


# ---- figures ------------------------------------------------------------------------------------


def _draw(
    folder, results, used, candidates, curves, history, architecture, space, budget, task
) -> dict[str, str] | None:
    """Saves the figures that there are numbers for; returns their paths within the folder, or None
    where matplotlib is missing."""
    if not pictures.can_draw():
        return None
    from nasgen.report import cell_graph, plots

    options = dict(headline=_headline(results, used, budget, task), series=task.is_series)
    made = {"cells": cell_graph.draw_stages(architecture, space.ops, **options)}
    if any(len(values) for values in curves.values()):
        made["search"] = plots.search_curves(curves, score=str(results.get("fitness", "score")))
    if len(candidates.get("params", ())):
        masks, example = _masks(candidates, budget), words.examples(task, number=1)
        made["candidates"] = plots.candidates(**masks, budget=budget, example=example)
    if history:
        chosen = results.get("kept_step")
        made["training"] = plots.training_curves(history, task, chosen=chosen)
    return pictures.save(folder, made)


def _headline(results: Mapping[str, Any], used: Costs, budget: Budget, task: Task) -> str:
    """`digits: test accuracy 99.2 %, 29.9 k of 30 k params, 1.11 M of 2 M MACs`."""
    reached = results.get(f"test_{task.metric}")
    parts = []
    if defined(reached):
        parts.append(f"test {words.title(task)} {words.amount(reached, task)}")
    for field, unit in (("params", "params"), ("macs", "MACs")):
        bound = getattr(budget, field)
        of = "" if bound is None else f" of {short(bound, digits=3)}"
        parts.append(f"{short(getattr(used, field), digits=3)}{of} {unit}")
    return f"{plain(task.name)}: {', '.join(parts)}"


def _masks(candidates: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    params, macs = np.asarray(candidates["params"]), np.asarray(candidates["macs"])
    limits = ((params, budget.params), (macs, budget.macs))
    fits = np.logical_and.reduce(
        [v <= most for v, most in limits if most is not None] or [params > 0]
    )
    winner = candidates.get("winner")
    return {
        "params": params,
        "macs": macs,
        "fits": np.asarray(candidates.get("fits", fits), bool),
        "exact": np.asarray(candidates.get("exact", np.zeros(len(params))), bool),
        "winner": None if winner is None else int(winner),
    }


def _figure(drawn: Mapping[str, str] | None, name: str, alt: str) -> str:
    return f"![{alt}]({drawn[name]})" if drawn and name in drawn else ""


# ---- text ---------------------------------------------------------------------------------------


def _summary(results: Mapping[str, Any], task: Task, used: Costs) -> str:
    text = (
        f"nasgen designed and trained a network that {words.does(task)}, with "
        f"{number(used.params)} parameters and {number(used.macs)} MACs for one "
        f"{words.examples(task, number=1)} (FLOPs are twice the MACs)."
    )
    reached = score(results, "test", task)
    return f"{text} **Test {words.title(task)}: {reached}.**" if reached else text


def _metric(results: Mapping[str, Any], task: Task) -> str:
    rows = [(part, score(results, part, task)) for part in ("test", "validation")]
    rows = [row for row in rows if row[1]]
    if not rows:
        return ""
    many, too = words.examples(task), "high" if METRICS[task.metric].higher else "low"
    note = (
        f"The validation {many} chose the weights, so their figure is a little too {too}; the test "
        f"{many} were read once, at the end."
    )
    title = words.metric(task)
    return table((many.capitalize(), title[0].upper() + title[1:]), rows) + f"\n\n{note}"


def _methods(results: Mapping[str, Any]) -> str:
    """A row a method, a column for each measure that any has."""
    given: dict[str, dict[str, Any]] = {}
    for key, value in results.items():
        if key.startswith("method."):
            name, measure = key.removeprefix("method.").rsplit(".", 1)
            given.setdefault(name, {})[measure] = value
    if not given:
        return ""
    found = {measure for measures in given.values() for measure in measures}
    columns = [m for m in MEASURES if m in found] + sorted(found - MEASURES.keys())
    names = [n for n in METHODS if n in given] + sorted(given.keys() - METHODS.keys())
    rows = [
        (METHODS.get(n, plain(n)), *(_cell(given[n].get(measure)) for measure in columns))
        for n in names
    ]
    titles = [MEASURES.get(c, plain(c).replace("_", " ").capitalize()) for c in columns]
    return table(("Method", *titles), rows, right=1)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return plain(value)
    return number(value) if isinstance(value, int) or abs(value) < 100 else f"{value:,.0f}"


def _training(results: Mapping[str, Any], task: Task) -> str:
    step = results.get("kept_step")
    if step is None:
        return ""
    return (
        f"The weights of step {number(step)} are kept: the best on the validation "
        f"{words.examples(task)}."
    )


def _times(results: Mapping[str, Any]) -> str:
    running, compiling = (_after(results, p) for p in ("seconds.", "compile_seconds."))
    stages = [*running, *(stage for stage in compiling if stage not in running)]
    if not stages:
        return ""
    rows = [
        (plain(stage), f"{running.get(stage, 0):.1f}", f"{compiling.get(stage, 0):.1f}")
        for stage in stages
    ]
    total = [sum(part.values()) for part in (running, compiling)]
    rows.append(("**all**", *(f"**{seconds:.1f}**" for seconds in total)))
    return table(("Stage", "Running, s", "Compiling, s"), rows, right=1)


def _after(results: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found = {k.removeprefix(prefix): v for k, v in results.items() if k.startswith(prefix)}
    return {name: value for name, value in found.items() if value is not None}


def _use(folder: Path, network: str, task: Task) -> str:
    if not (folder / network).is_dir():
        return ""
    names = sorted(path.name for path in (folder / network).iterdir() if path.is_file())
    files = ", ".join(f"[{name}]({network}/{name})" for name in names)
    shapes = "[number, length, channels]" if task.is_series else _IMAGES
    what = "Tables" if task.is_series else "Pictures"
    given = "table.csv series.npy" if task.is_series else "photo.png images.npy"
    return (
        f"The network stands in [{network}]({network}) and needs `jax` and `flax`, not nasgen. "
        f"{what}, and raw {words.examples(task)} in .npy files (`{shapes}`), are read by\n\n"
        f"```\npython {network}/predict.py {given}\n```\n\nwhich gives {words.gives(task)}. "
        f"Files: {files}."
    )


def _again(results: Mapping[str, Any], config: Mapping[str, Any] | None) -> str:
    lines = []
    if "command" in results:
        lines.append(f"```\n{results['command']}\n```")
    if "seed" in results:
        lines.append(f"Everything random follows from the seed {results['seed']}.")
    if config:
        rows = [(f"`{plain(k)}`", "not set" if v is None else plain(v)) for k, v in config.items()]
        settings = table(("Setting", "Value"), rows)
        lines.append(f"<details><summary>All settings</summary>\n\n{settings}\n\n</details>")
    return "\n\n".join(lines)
