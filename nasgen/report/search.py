"""The page of the search benchmark: what each method has after how many exact scores, and its
Pareto set; curves and sets as pictures."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasgen.report import pictures
from nasgen.report.card import METHODS, table
from nasgen.report.markdown import REPORT
from nasgen.report.pictures import FIGURES

_INTRO = """The same space, fitness, budget and counting for every method; medians over the seeds
{seeds}, in brackets their bootstrap 95 % interval. Only exact scores are counted: costs are exact
and free."""


def write_report(
    folder: Path,
    results: Mapping[str, Any],
    found: Mapping[str, Sequence[Mapping[str, Any]]],
    fitness: str,
    *,
    figures: bool = True,
) -> Path:
    """Writes `folder/report.md` and (where there is matplotlib) the pictures. results: flat, of
    `benchmarks.search`. found: of each method a row a seed with arrays `curve`, `scores`, `params`
    and `macs`."""
    drawn = figures and pictures.can_draw()
    if drawn:
        from nasgen.report import plots

        first = {name: rows[0] for name, rows in found.items()}
        made = {
            "curves": plots.curves_over_seeds(
                {name: [row["curve"] for row in rows] for name, rows in found.items()},
                score=fitness,
            ),
            "pareto": plots.pareto_sets(first, score=fitness),
        }
        pictures.save(folder, made)
    match = next(
        (n for n in results if n.startswith("evaluations_to_match") and "/" not in n), None
    )
    words = [_INTRO.format(seeds=", ".join(map(str, results["seeds"])))]
    if match:
        own = _with_interval(results, match)
        evaluations = match.rpartition("_")[2]
        words.append(
            f"Exact scores with which nasgen has what evolution has after {evaluations}: {own}."
        )
    parts = ["# Searches", *words, _scores(results, list(found))]
    parts += [f"![Best score so far against exact scores.]({FIGURES}/curves.png)"] if drawn else []
    parts += ["## Several objectives", _volumes(results, list(found))]
    parts += [f"![Networks that no other beats.]({FIGURES}/pareto.png)"] if drawn else []
    path = folder / REPORT
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _scores(results: Mapping[str, Any], names: list[str]) -> str:
    starts = {name.split("/")[2] for name in results if "/best_score_at/" in name}
    marks = sorted(map(int, starts))
    rows = [
        (METHODS.get(n, n), *(_with_interval(results, f"{n}/best_score_at/{m}") for m in marks))
        for n in names
    ]
    return table(("Method", *(f"after {mark:,}" for mark in marks)), rows, right=1)


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "interrupted"


def _volumes(results: Mapping[str, Any], names: list[str]) -> str:
    rows = [
        (
            METHODS.get(name, name),
            results[f"{name}/evaluations"],
            _with_interval(results, f"{name}/hypervolume"),
            _seconds(results[f"{name}/seconds"]),
        )
        for name in names
    ]
    header = ("Method", "Exact scores", "Hypervolume", "Seconds without compiling")
    note = (
        "Fitness, params and MACs together: the share of the box between the budget and the best "
        "fitness of any method that the scored networks dominate."
    )
    return f"{note}\n\n{table(header, rows, right=1)}"


def _with_interval(results: Mapping[str, Any], name: str) -> str:
    if name not in results:
        return ""
    values = [results[name], *results[f"{name}/interval"]]
    value, low, high = (
        "never" if np.isinf(v) else f"{v:,.4g}" if v < 1e3 else f"{v:,.0f}" for v in values
    )
    return f"{value} ({low} to {high})"
