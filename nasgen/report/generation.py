"""The page of the generation benchmark: tables, and requested against measured as a picture.

What it reads are the flat results of `benchmarks.generation`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nasgen.report import pictures
from nasgen.report.card import table
from nasgen.report.markdown import REPORT
from nasgen.report.pictures import FIGURES
from nasgen.spaces.formats import cell_from_json
from nasgen.spaces.space import Space

PICTURE, TYPICAL = f"{FIGURES}/requests.png", f"{FIGURES}/typical.png"
SHARES = ("validity", "uniqueness", "novelty", "valid_unique_yield")
SPACES = {"open": "open", "nb201": "NAS-Bench-201", "nb101": "NAS-Bench-101"}
NAMES = {"params": "params", "macs": "MACs", "snip_snr": "SNIP-SNR", "nwot": "NWOT"}
WAYS = {
    "condition/single": "one sample",
    "condition": "best of several",
    "condition/guided_single": "one sample, guided",
    "condition/guided": "best of several, guided",
    "condition/alone": "best of several, this condition alone",
}


def write_report(
    folder: Path, results: Mapping[str, Any], *, space: Space, figures: bool = True
) -> Path:
    """Writes `folder/report.md` and (where there is matplotlib) the pictures. space: `open`."""
    drawn = figures and _draw(folder, results, space)
    parts = ["# Cells to order", "Medians over seeds.", "## No condition given", _shares(results)]
    if "open/condition/params/spearman" in results:
        parts += ["## Conditions met", _conditions(results)]
        parts += [f"![Requested against measured conditions.]({PICTURE})"] if drawn else []
        parts += ["## Beyond what training has seen", _beyond(results)]
        parts += ["## Speed and density", _others(results)]
        parts += [f"![Typical and atypical cells.]({TYPICAL})"] if drawn else []
    path = folder / REPORT
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _shares(results) -> str:
    """A row for every space, number of samples and source."""
    lines = []
    for space, title in SPACES.items():
        starts = [n[: -len("validity")] for n in results if n.endswith("/validity")]
        for start in [s for s in starts if s.split("/")[0] == space]:
            what = start.strip("/").removeprefix(space).strip("/") or "generator"
            found = [results[f"{start}{share}"] for share in SHARES]
            lines.append((title, what.replace("/", ", "), *(f"{100 * v:.2f} %" for v in found)))
    header = ("Space", "Source", "Valid", "Unique", "Novel", "Valid and unique")
    return table(header, lines, right=2)


def _conditions(results) -> str:
    lines = []
    for way, title in WAYS.items():
        row = [title]
        for name in NAMES:
            start = f"open/{way}/{name}"
            if f"{start}/spearman" not in results:
                row.append("")
                continue
            error = 100 * results[f"{start}/median_relative_error"]
            row.append(f"{error:.1f} %, {results[f'{start}/spearman']:.3f}")
        lines.append(row)
    note = "Median relative error and Spearman's correlation of requested and measured."
    return f"{note}\n\n{table(('Way', *NAMES.values()), lines, right=1)}"


def _beyond(results) -> str:
    lines = []
    for side in ("below", "above"):
        start = f"open/condition/{side}/params"
        found = [results[f"{start}/{name}"] for name in ("training", "wanted", "found")]
        lines.append((side, *(f"{value:,.0f}" for value in found)))
    return table(("Params", "the training's extreme", "requested", "got (median)"), lines, right=1)


def _others(results) -> str:
    names = [
        n
        for n in results
        if n.startswith(("open/cells_per", "open/log_probs", "open/density"))
        and "/all" not in n
        and "/picture" not in n
    ]
    lines = [(name.removeprefix("open/"), f"{results[name]:,.4g}") for name in names]
    return table(("What", "Figure"), lines, right=1)


def _draw(folder: Path, results: Mapping[str, Any], space: Space) -> bool:
    if "open/picture/wanted" not in results or not pictures.can_draw():
        return False
    from nasgen.report import cell_graph, style
    from nasgen.report.plots import count_axis

    figure, panels = style.figure(2.3, columns=len(NAMES))
    wanted, found = (np.array(results[f"open/picture/{n}"]) for n in ("wanted", "found"))
    for column, (axes, title) in enumerate(zip(panels, NAMES.values(), strict=True)):
        pair = wanted[:, column], found[:, column]
        if title != "NWOT":
            pair = tuple(np.exp(side) for side in pair)
            axes.set_xscale("log")
            axes.set_yscale("log")
        low, high = min(map(np.nanmin, pair)), max(map(np.nanmax, pair))
        axes.plot([low, high], [low, high], color=style.GREY, linewidth=0.8, zorder=1)
        axes.scatter(*pair, s=5, alpha=0.6, color=style.BLUE, linewidths=0)
        if title != "NWOT":
            for axis in (axes.xaxis, axes.yaxis):
                count_axis(axis, steps=(1, 3))
        style.finish(axes, title=title, x="requested", y="measured" if column == 0 else "")
    shown = [
        (n, one) for n in ("typical", "atypical") for one in results[f"open/density/picture/{n}"]
    ]
    titles = [f"{name}: {one['nats']:.0f} nats" for name, one in shown]
    cells = [cell_from_json(one["cell"], space) for _, one in shown]
    made = {"requests": figure, "typical": cell_graph.draw_cells(cells, titles, space.ops)}
    pictures.save(folder, made)
    return True
