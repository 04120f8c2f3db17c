"""The page of the proxy benchmark: tables of every statistic, and one heat map.

What it reads are the flat results of `benchmarks.proxies`: `SPACE/MEASURE/PROXY/STATISTIC`, and
beside them `SPACE/num`, `SPACE/seconds_each`, `SPACE/PROXY/left_out`, `SPACE/PROXY/seconds_alone`
and `nb201/port/PROXY/spearman_published` and `spearman_again`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nasgen.report import pictures
from nasgen.report.card import number, table, with_interval
from nasgen.report.markdown import REPORT
from nasgen.report.pictures import FIGURES

HEAT_MAP = f"{FIGURES}/spearman.png"
SPACES = {
    "nb201": "NAS-Bench-201",
    "nb101": "NAS-Bench-101",
    "transnas_micro": "TransNAS-Bench-101 micro",
}
STATISTICS = {
    "spearman": "Spearman",
    "kendall": "Kendall (tau-b)",
    "spearman_top10": "Spearman among the 10 % best by accuracy",
    "partial_given_params": "Spearman with the ranks of params taken out of both",
}
# Signed Spearman with the accuracies of `PRINTED_SETS`, as the literature gives them.
PRINTED = {
    "params": (0.75, 0.73, 0.69),
    "macs": (0.73, 0.71, 0.67),
    "layers": (0.77, 0.79, 0.76),
    "grad_norm": (0.59, 0.64, 0.58),
    "snip": (0.60, 0.64, 0.58),
    "grasp": (0.51, 0.55, 0.55),
    "fisher": (0.36, 0.39, 0.33),
    "synflow": (0.74, 0.76, 0.75),
    "jacob_cov": (0.73, 0.70, 0.70),
    "nwot": (0.77, 0.80, 0.78),
    "zen": (0.36, 0.36, 0.40),
    "zico": (0.80, 0.81, 0.79),
    "grad_sign": (0.77, 0.79, 0.78),
    "az_nas": (0.91, 0.90, 0.89),
}
PRINTED_SETS = ("cifar10", "cifar100", "ImageNet16-120")
TOLERANCE = 0.05
_INTRO = """Every proxy scores a network once, before training, on one batch of CIFAR-10 images. The
correlations with what the benchmark measured after training are signed: below zero, a proxy orders
networks the wrong way round. In brackets: bootstrap 95 % intervals over architectures.
Scores that are not finite are left out; the last table counts them."""

Columns = list[tuple[str, str]]  # space and measure


def write_report(folder: Path, results: Mapping[str, Any], *, figures: bool = True) -> Path:
    """Writes `folder/report.md` and (where matplotlib is installed) the heat map."""
    columns = _columns(results)
    rows = _ordered(results, columns)
    drawn = figures and _draw(folder, results, rows, columns)
    parts = ["# Zero-cost proxies and trained accuracies", _INTRO]
    parts += [f"![Signed Spearman of every proxy on every benchmark.]({HEAT_MAP})"] if drawn else []
    for name, title in STATISTICS.items():
        parts += [f"## {title}", _statistic(results, name, rows, columns)]
    parts += _printed(results)
    parts += _published(results)
    parts += ["## Cost and scores left out", _costs(results, rows)]
    path = folder / REPORT
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _columns(results: Mapping[str, Any]) -> Columns:
    split = [name.split("/") for name in results]
    found = dict.fromkeys((p[0], p[1]) for p in split if len(p) == 4 and p[3] == "spearman")
    return list(found)


def _ordered(results: Mapping[str, Any], columns: Columns) -> list[str]:
    """Proxies, the best mean Spearman over spaces (each the mean of its measures) first."""
    split = [name.split("/") for name in results]
    names = dict.fromkeys(p[2] for p in split if len(p) == 4 and p[3] == "spearman")

    def mean(proxy: str) -> float:
        by_space: dict[str, list[float]] = {}
        for space, measure in columns:
            value = results.get(f"{space}/{measure}/{proxy}/spearman", np.nan)
            if np.isfinite(value):
                by_space.setdefault(space, []).append(value)
        return float(np.mean([np.mean(v) for v in by_space.values()])) if by_space else -np.inf

    return sorted(names, key=mean, reverse=True)


def _draw(folder: Path, results, rows: list[str], columns: Columns) -> bool:
    if not rows or not pictures.can_draw():
        return False
    from nasgen.report.heat_map import heat_map

    names = [[f"{s}/{m}/{row}/spearman" for s, m in columns] for row in rows]
    values = np.array([[results.get(name, np.nan) for name in line] for line in names], float)
    titles = [(SPACES[s], m.replace("_", " ")) for s, m in columns]
    drawn = heat_map(
        values, rows, titles, title="How well proxies order networks", label="signed Spearman"
    )
    pictures.save(folder, {"spearman": drawn})
    return True


def _statistic(results, name: str, rows: list[str], columns: Columns) -> str:
    titles = [f"{SPACES[space]}: {measure}" for space, measure in columns]
    lines = [
        (row, *(with_interval(results, f"{s}/{m}/{row}/{name}") for s, m in columns))
        for row in rows
    ]
    return table(("Proxy", *titles), lines, right=1)


def _printed(results) -> list[str]:
    """Ours beside the correlations in the literature; what differs by more is in bold."""
    lines = []
    for proxy, values in PRINTED.items():
        ours = [results.get(f"nb201/{s}/{proxy}/spearman", np.nan) for s in PRINTED_SETS]
        if np.isfinite(ours).all():
            pairs = zip(ours, values, strict=True)
            lines.append((proxy, *(_beside(own, printed) for own, printed in pairs)))
    if not lines:
        return []
    note = (
        "Ours, then the figure in the literature (which scores on each data set's own images, "
        f"others' samples and seeds); in bold where they differ by more than {TOLERANCE}."
    )
    header = ("Proxy", *(f"NAS-Bench-201: {name}" for name in PRINTED_SETS))
    return ["## Against printed correlations", note, table(header, lines, right=1)]


def _beside(own: float, printed: float) -> str:
    text = f"{own:.2f}, {printed:.2f}"
    return f"**{text}**" if abs(round(own, 2) - printed) > TOLERANCE + 1e-9 else text


def _published(results) -> list[str]:
    proxies = [n.split("/")[2] for n in results if n.endswith("/spearman_published")]
    if not proxies:
        return []
    start = "nb201/port"
    lines = [
        (
            p,
            results[f"{start}/{p}/compared"],
            with_interval(results, f"{start}/{p}/spearman_published", digits=3),
            with_interval(results, f"{start}/{p}/spearman_again", digits=3),
        )
        for p in proxies
    ]
    note = (
        "The same architectures of NAS-Bench-201, each with its own published score "
        "(NASLib: batch 32 of CIFAR-10, PyTorch's default initialisation). The last column is ours "
        "with ours of other weights and images: where that is low, the score is mostly its draw."
    )
    header = ("Proxy", "Architectures", "Spearman with the published", "with ours, drawn again")
    return ["## Against published scores", note, table(header, lines, right=1)]


def _costs(results, rows: list[str]) -> str:
    spaces = [space for space in SPACES if f"{space}/num" in results]
    header = ["Proxy"]
    for space in spaces:
        header += [f"{SPACES[space]}: seconds alone", "left out"]
    lines = []
    for row in rows:
        line = [row]
        for space in spaces:
            seconds = results.get(f"{space}/{row}/seconds_alone")
            left, num = results[f"{space}/{row}/left_out"], results[f"{space}/num"]
            line += ["" if seconds is None else f"{seconds:.2g}", f"{left} of {number(num)}"]
        lines.append(line)
    together = [f"{results[f'{space}/seconds_each']:.2g} s on {SPACES[space]}" for space in spaces]
    note = (
        "Seconds an architecture of each proxy computed alone (0: it needs no pass). All together, "
        f"sharing their passes: {', '.join(together)}."
    )
    return f"{table(header, lines, right=1)}\n\n{note}"
