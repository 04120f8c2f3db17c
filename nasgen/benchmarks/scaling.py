"""How far nasgen scales on this machine: scoring by several processes, a search by the number of
its candidates, and a process that goes on for long.

scoring/N/efficiency: seconds of one process over N times those of N processes, a core each; its
core_seconds say the same where the machine does other work. search/N: core-seconds and the peak of
memory when N candidates are written, counted and ranked; search/slope: of the logarithm of the
seconds over that of N, 1 being linear; search/memory_ratio: the peak of the most over that of the
fewest. soak/scores/growth, soak/steps/growth: of memory, from a tenth of the way to the end.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from nasgen import pretrained
from nasgen.benchmarks import scaling_parts
from nasgen.pipeline.config import COMMON, MADE_UP, UserError, check, text, whole, wholes
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.processes import cpu_count
from nasgen.report import pictures
from nasgen.report.card import table
from nasgen.report.markdown import REPORT

RULES = {
    **COMMON,
    **MADE_UP,
    "pretrained": text(),
    "score_batch": whole(2, 4096),
    "num_scored": whole(2, 10_000),
    "repeats": whole(1, 1000),
    "processes": wholes(1, 1024),
    "candidates": wholes(1, 10**9),
    "block": whole(1, 100_000),
    "kept": whole(1, 100_000),
    "soak.candidates": whole(10),
    "soak.steps": whole(10),
}


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Every measurement is a stage; then results.json, report.md and its picture. Raises UserError
    for a config that is off, weights that are not there, and more processes than cores."""
    check(config, RULES)
    try:
        pretrained.find(config.pretrained, "macro")
    except ValueError as error:
        raise UserError(str(error)) from None
    if max(config.processes) > cpu_count():
        raise UserError(
            f"`config.processes` must be at most {cpu_count()}, the cores; got {config.processes}."
        )
    counts = {f"scoring_{num}": num for num in config.processes}
    sizes = {f"search_{num}": num for num in config.candidates}
    stages = [Stage(name, (), lambda n=num: scoring(config, n)) for name, num in counts.items()]
    stages += [Stage(name, (), lambda n=num: searching(config, n)) for name, num in sizes.items()]
    stages.append(Stage("soak", (), lambda: soaking(config)))
    run_stages(workdir, stages)
    results = figures(
        {num: read_stage(workdir.path, name) for name, num in counts.items()},
        {num: read_stage(workdir.path, name) for name, num in sizes.items()},
        read_stage(workdir.path, "soak"),
    )
    drawn = {}
    if pictures.can_draw():
        from nasgen.report.scaling_plots import cost_of_search

        spent = {num: results[f"search/{num}/core_seconds"] for num in config.candidates}
        drawn = pictures.save(workdir.path, {"search": cost_of_search(spent)})
    (workdir.path / REPORT).write_text(_page(config, results, drawn), encoding="utf-8")
    write_results(workdir, results)


def scoring(config: ConfigDict, num: int) -> dict[str, float]:
    """Of so many processes: seconds of the slowest, core-seconds of all."""
    places = scaling_parts.places(num)
    each = [(config, place, core) for core, place in enumerate(places)]
    found = scaling_parts.in_processes(scaling_parts.scored, each)
    slowest = max(one["seconds"] for one in found)
    return {"wall": slowest, "core_seconds": sum(one["core_seconds"] for one in found)}


def searching(config: ConfigDict, num: int) -> dict[str, float]:
    """Of so many candidates."""
    return scaling_parts.in_processes(scaling_parts.proposed, [(config, num)])[0]


def soaking(config: ConfigDict) -> dict[str, float]:
    """Of a long process."""
    return scaling_parts.in_processes(scaling_parts.soaked, [(config,)])[0]


def figures(
    scored: Mapping[int, Mapping[str, float]],
    searched: Mapping[int, Mapping[str, float]],
    soaked: Mapping[str, float],
) -> dict[str, Any]:
    """Named as the module says, from what was measured by number of processes and candidates."""
    found: dict[str, Any] = {}
    fewest = min(scored)
    for num, one in scored.items():
        found[f"scoring/{num}/seconds"] = one["wall"]
        found[f"scoring/{num}/core_seconds"] = one["core_seconds"]
        share = fewest / num
        found[f"scoring/{num}/efficiency"] = share * scored[fewest]["wall"] / one["wall"]
    for num, one in searched.items():
        found[f"search/{num}/core_seconds"] = one["core_seconds"]
        found[f"search/{num}/peak_memory"] = one["peak_memory"]
    if len(searched) > 1:
        seconds = [one["core_seconds"] for one in searched.values()]
        found["search/slope"] = float(np.polyfit(np.log(list(searched)), np.log(seconds), 1)[0])
        most, least = (searched[num]["peak_memory"] for num in (max(searched), min(searched)))
        found["search/memory_ratio"] = most / least
    for part in ("scores", "steps"):
        found[f"soak/{part}/growth"] = soaked[f"{part}/late"] / soaked[f"{part}/early"] - 1
    return found


def _page(config: ConfigDict, results: Mapping[str, Any], drawn: Mapping[str, str]) -> str:
    scored = [
        (
            num,
            f"{results[f'scoring/{num}/seconds']:.3g}",
            f"{results[f'scoring/{num}/core_seconds']:.3g}",
            f"{results[f'scoring/{num}/efficiency']:.2f}",
        )
        for num in config.processes
    ]
    searched = [
        (
            f"{num:,}",
            f"{results[f'search/{num}/core_seconds']:.3g}",
            f"{1000 * results[f'search/{num}/core_seconds'] / num:.3g}",
            f"{results[f'search/{num}/peak_memory'] / 2**20:,.0f}",
        )
        for num in config.candidates
    ]
    slope = results.get("search/slope")
    parts = [
        "# Scaling",
        f"Scoring of {config.num_scored} networks, a core each process:",
        table(("Processes", "Seconds", "Core-seconds", "Efficiency"), scored, right=1),
        "Candidates written, counted and ranked, without exact scores:",
        table(("Candidates", "Core-seconds", "ms each", "Peak MiB"), searched, right=1),
        "" if slope is None else f"Slope of log seconds over log candidates: {slope:.3f}.",
        *(f"![Cost of a search]({path})" for path in drawn.values()),
        f"Memory of one process grew by {results['soak/scores/growth']:.1%} over "
        f"{config.soak.candidates} scores and by {results['soak/steps/growth']:.1%} over "
        f"{config.soak.steps:,} steps of training, from a tenth of the way to the end.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
