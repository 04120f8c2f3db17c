"""Correlations or shares as a heat map: rows and columns named, every number in its cell."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.figure import Figure

from nasgen.report import style

# Red negative, white zero, blue positive: told apart by any colour vision.
_COLOURS = colormaps["RdBu"].with_extremes(bad=style.GRID)
_SHARES = colormaps["Blues"].with_extremes(bad=style.GRID)
_ROW, _AROUND = 0.27, 1.9  # inches


def heat_map(
    values: Float[np.ndarray, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[tuple[str, str]],
    *,
    title: str,
    label: str,
    low: float = -1,
) -> Figure:
    """Correlations in -1..1, or shares where `low` is 0 (nan: a grey cell without a number).
    columns: group and name of each; neighbours of one group stand together, apart from the next."""
    figure, (axes,) = style.figure(_AROUND + _ROW * len(rows))
    places = _places([group for group, _ in columns])
    edges = np.arange(len(rows) + 1) - 0.5
    axes.set_facecolor("white")
    for column, place in enumerate(places):
        cells = np.ma.masked_invalid(values[:, column : column + 1])
        sides = [place - 0.5, place + 0.5]
        colours = _COLOURS if low < 0 else _SHARES
        look = dict(cmap=colours, vmin=low, vmax=1, edgecolors="white", linewidth=0.8)
        mesh = axes.pcolormesh(sides, edges, cells, **look)
        for row, value in enumerate(values[:, column]):
            _write(axes, place, row, value)
    axes.set_xlim(-0.5, places[-1] + 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(places, [name for _, name in columns], rotation=40, ha="right")
    style.finish(axes, title="", x="", y="")
    axes.grid(False)
    axes.tick_params(length=0, colors=style.INK)
    for side in axes.spines.values():
        side.set_visible(False)
    for group, centre in _centres([group for group, _ in columns], places):
        look = dict(fontsize=style.TEXT, color=style.INK, ha="center", va="bottom")
        axes.text(centre, -0.75, group, **look)
    axes.set_title(title, fontsize=style.TITLE, color=style.INK, loc="left", pad=24)
    bar = figure.colorbar(mesh, ax=axes, fraction=0.03, pad=0.02, aspect=35)
    bar.set_label(label, fontsize=style.SMALL, color=style.INK)
    bar.ax.tick_params(labelsize=style.SMALL, colors=style.FAINT, length=3)
    bar.outline.set_visible(False)
    return figure


def _write(axes, place: float, row: int, value: float) -> None:
    if not np.isfinite(value):
        return
    text = f"{value:.2f}".replace("0.", ".").replace("-.00", ".00").replace("-", "\N{MINUS SIGN}")
    ink = "white" if abs(value) > 0.6 else style.INK
    look = dict(ha="center", va="center", fontsize=style.SMALL, color=ink)
    axes.text(place, row, text, **look)


def _places(groups: Sequence[str]) -> list[float]:
    """Positions of columns, with a gap before each new group."""
    places = [0.0]
    for before, group in zip(groups, groups[1:], strict=False):
        places.append(places[-1] + (1 if group == before else 1.25))
    return places


def _centres(groups: Sequence[str], places: Sequence[float]) -> list[tuple[str, float]]:
    found = []
    for group in dict.fromkeys(groups):
        own = [place for name, place in zip(groups, places, strict=True) if name == group]
        found.append((group, (own[0] + own[-1]) / 2))
    return found
