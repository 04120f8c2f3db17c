"""The page of the fitness benchmark: tables of the flat results of `benchmarks.fitness`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasgen.report.card import table, with_interval
from nasgen.report.markdown import REPORT

HELD = {"held_out_band": "Held-out band", "held_out_data": "Held-out data set"}
_INTRO = """Spearman of a fitness with trained accuracy among networks of one task, cost band and
number of steps, averaged over these groups; in brackets the 95 % interval of bootstrap samples of
networks. The predictor is fitted without the bands, or without the data set, that it is judged on;
nothing else is fitted."""
_STEPS = """How the correlations move with training: means over the cost bands in which three
networks or more were trained so long. The predictor did not see the band."""
_PROOF = """Networks of one budget, trained by one short recipe. `random` is one draw within the
budget; the others found theirs by equally many exact scores of `predicted_accuracy`. Last: by how
many points generate's networks are better, the mean over seeds and its 95 % interval."""
_NOISE = """Networks trained twice: the deviation that a seed makes and that of all networks within
bands, in points of accuracy, and the Spearman that even a perfect fitness would stay below."""


def write_report(folder: Path, results: Mapping[str, Any]) -> Path:
    """Writes `folder/report.md`."""
    parts = [f"# Fitness and trained accuracy of {results['num_networks']} networks", _INTRO]
    names = {n.split("/")[1] for n in results if n.startswith("held_out_band/")}
    best = sorted(names, key=lambda n: -results[f"held_out_band/{n}/spearman"])
    rows = [
        (name, *(with_interval(results, f"{held}/{name}/spearman") for held in HELD))
        for name in best
    ]
    parts.append(table(("Fitness", *HELD.values()), rows, right=1))
    parts += ["## By steps of training", _STEPS, _by_steps(results)]
    parts += [*_noise(results), *_proof(results)]
    path = folder / REPORT
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _by_steps(results: Mapping[str, Any]) -> str:
    found = [n.split("/")[1:] for n in results if n.startswith("by_steps/")]
    names = list(dict.fromkeys(one[2] for one in found if one[-1] == "spearman"))
    groups = sorted({(one[0], int(one[1])) for one in found})
    rows = []
    for task, steps in groups:
        start = f"by_steps/{task}/{steps}"
        values = (f"{results[f'{start}/{name}/spearman']:.2f}" for name in names)
        rows.append((task, steps, results[f"{start}/num_networks"], *values))
    return table(("Task", "Steps", "Networks", *names), rows, right=1)


def _noise(results: Mapping[str, Any]) -> list[str]:
    tasks = sorted({n.split("/")[1] for n in results if n.startswith("noise/")})
    if not tasks:
        return []
    rows = [
        (
            task,
            results[f"noise/{task}/num_twice"],
            f"{100 * results[f'noise/{task}/seed_deviation']:.1f}",
            f"{100 * results[f'noise/{task}/band_deviation']:.1f}",
            f"{results[f'noise/{task}/ceiling']:.2f}",
        )
        for task in tasks
    ]
    header = ("Task", "Networks", "Deviation by seed", "Deviation in bands", "Ceiling")
    return ["## Noise", _NOISE, table(header, rows, right=1)]


def _proof(results: Mapping[str, Any]) -> list[str]:
    methods = [n.split("/")[0] for n in results if n.endswith("/test_accuracy/median")]
    if not methods:
        return []
    rows = [
        (
            method,
            f"{100 * results[f'{method}/test_accuracy/median']:.1f}",
            ", ".join(f"{100 * one:.1f}" for one in results[f"{method}/test_accuracy/all"]),
            f"{results[f'{method}/fitness/median']:.2f}",
            _gained(results, method),
        )
        for method in methods
    ]
    names = ("Method", "Median test accuracy, %", "Each seed's", "Median fitness")
    header = (*names, "generate's is better by")
    return ["## What a search for it finds", _PROOF, table(header, rows, right=1)]


def _gained(results: Mapping[str, Any], method: str) -> str:
    """In points, the mean over seeds and its 95 % interval."""
    start = f"generate/over/{method}"
    if f"{start}/mean" not in results:
        return ""
    said = f"{100 * results[f'{start}/mean']:.1f}"
    if f"{start}/interval" not in results:
        return said
    low, high = (f"{100 * end:.1f}" for end in results[f"{start}/interval"])
    return f"{said} ({low} to {high})"
