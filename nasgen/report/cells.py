"""The page of a pretraining of the generator of cells: figures, the mixture's curve, its clusters
in words and drawn, and the metric space seen from its two main axes.

Needs matplotlib for its pictures; without it the page has none.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nasgen.report import pictures
from nasgen.report.card import number, table
from nasgen.report.markdown import REPORT
from nasgen.report.pictures import FIGURES
from nasgen.types import Cell, Op

_POINTS = 4_000  # cells on the map at most
_WIDE = 16.0  # inches, of the picture with a cell of each cluster
_TITLES = {"log_macs": "log MACs", "log_snip_snr": "log SNIP-SNR", "nwot": "NWOT"}


def write_report(
    folder: Path,
    results: Mapping[str, Any],
    clusters: Sequence[Any],
    latents: Float[np.ndarray, "cells latent"],
    conditions: Float[np.ndarray, "cells condition"],
    *,
    space: str,
    ops: Sequence[Op],
    names: Sequence[str],
) -> Path:
    """Writes `folder/report.md` and its pictures; returns the page's path. clusters: records with
    `number`, `share`, `params`, `macs`, `words`, `cell`. names: of the conditions, which are given
    in natural units or logarithms."""
    curve = results["metric/mixture_curve"]
    drawn = _draw(folder, curve, clusters, latents, conditions, ops, names)
    rows = [(c.number, f"{100 * c.share:.1f} %", _count(c.params), _count(c.macs), c.words)
            for c in clusters]  # fmt: skip
    parts = [
        f"# The generator of {space} cells",
        "## Figures",
        table(("On held-out cells", "", "95 % interval"), _figures(results, space), right=1),
        "## The metric space",
        f"![Cells by the two main axes of their latents.]({FIGURES}/space.png)" if drawn else "",
        "## How many clusters",
        f"BIC chooses {results['metric/num_clusters']} components.",
        f"![BIC and held-out likelihood.]({FIGURES}/mixture.png)" if drawn else "",
        "## The clusters",
        table(("Cluster", "Cells", "Params", "MACs", "In words"), rows),
        "Params and MACs are medians, in the network that cells are measured in. Of each cluster "
        "a cell near its mean:",
        f"![A cell of each cluster.]({FIGURES}/clusters.png)" if drawn else "",
    ]
    path = folder / REPORT
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    return path


def _figures(results: Mapping[str, Any], space: str) -> list[tuple[str, str, str]]:
    own = {k.removeprefix(f"{space}/"): v for k, v in results.items() if k.startswith(f"{space}/")}
    rows = []
    for name, value in own.items():
        if not name.endswith("/interval"):
            ends = own.get(f"{name}/interval", ())
            between = " to ".join(map(_figure, ends))
            rows.append(("/".join(map(_title, name.split("/"))), _figure(value), between))
    return [*rows, ("seconds in all", f"{results['seconds_total']:,.0f}", "")]


def _figure(value: float | None) -> str:
    """Four digits; a dash for what is no number, which JSON does not know."""
    return "-" if value is None else f"{value:,.4g}"


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))


def _count(value: float) -> str:
    return number(int(float(f"{value:.3g}")))


def _draw(folder: Path, curve, clusters, latents, conditions, ops, names) -> bool:
    if not pictures.can_draw():
        return False
    from nasgen.report import cell_graph

    cells: list[Cell] = [one.cell for one in clusters]
    titles = [f"{one.number}: {one.words}" for one in clusters]
    made = {
        "mixture": mixture_curve(curve),
        "space": space_map(latents[:_POINTS], conditions[:_POINTS], names),
        "clusters": cell_graph.draw_cells(cells, titles, ops, total_width=_WIDE),
    }
    pictures.save(folder, made)
    return True


def mixture_curve(curve: Sequence[Mapping[str, float]]):
    """BIC and the log-likelihood of held-out cells over the number of components."""
    from nasgen.report import style

    figure, (left, right) = style.figure(2.4, columns=2)
    numbers = [point["components"] for point in curve]
    best = min(curve, key=lambda point: point["bic"])
    left.plot(numbers, [p["bic"] / 1e3 for p in curve], color=style.BLUE, marker="o", markersize=4)
    left.plot([best["components"]], [best["bic"] / 1e3], "D", color=style.RED, label="chosen")
    style.finish(left, title="BIC", x="components", y="thousands, less is better", legend=True)
    rows = ("log_likelihood", "fitted cells"), ("held_out_log_likelihood", "held-out cells")
    for (key, label), look in zip(rows, style.SERIES, strict=False):
        right.plot(numbers, [p[key] for p in curve], label=label, markersize=4, **look)
    style.finish(right, title="Log-likelihood", x="components", y="nats a cell", legend=True)
    return figure


def space_map(
    latents: Float[np.ndarray, "cells latent"],
    conditions: Float[np.ndarray, "cells condition"],
    names: Sequence[str],
):
    """Cells by the two main axes of their latents, a panel for each condition."""
    from nasgen.report import style

    middle = latents - latents.mean(0, keepdims=True)
    axes_of = np.linalg.svd(middle, full_matrices=False)[2][:2]
    places = middle @ axes_of.T
    figure, panels = style.figure(2.3, columns=len(names))
    for axes, name, values in zip(panels, names, conditions.T, strict=True):
        low, high = np.quantile(values, (0.02, 0.98))
        look = dict(s=2, linewidths=0, cmap="viridis", vmin=low, vmax=high, rasterized=True)
        points = axes.scatter(*places.T, c=values, **look)
        style.finish(axes, title=_title(name), x="", y="")
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        bar = figure.colorbar(points, ax=axes, orientation="horizontal", fraction=0.06, pad=0.03)
        bar.ax.tick_params(labelsize=style.SMALL, colors=style.FAINT, length=3)
        bar.outline.set_visible(False)
    return figure
