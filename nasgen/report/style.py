"""The look that all figures share: sizes, inks, and marks that do not rely on colour alone."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

DPI = 130
WIDTH = 7.4  # inches: a page's column at 100 %
INK, FAINT, GRID = "#1f2430", "#5b6270", "#e3e6ea"
# Okabe and Ito's colours, told apart by readers of any colour vision.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#9aa1ab"
PINK, SKY, YELLOW = "#CC79A7", "#56B4E9", "#B8A800"
SERIES = (
    {"color": BLUE, "linestyle": "-", "marker": "o"},
    {"color": RED, "linestyle": "--", "marker": "s"},
    {"color": GREEN, "linestyle": ":", "marker": "^"},
    {"color": ORANGE, "linestyle": "-.", "marker": "D"},
    {"color": PINK, "linestyle": "-", "marker": "v"},
    {"color": SKY, "linestyle": "--", "marker": "P"},
    {"color": YELLOW, "linestyle": "-.", "marker": "X"},
)
TEXT, SMALL, TITLE = 9, 8, 10.5  # points


def figure(height: float, *, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of the shared width with axes side by side."""
    made = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")
    axes = [made.add_subplot(1, columns, i + 1) for i in range(columns)]
    return made, axes


def finish(axes: Axes, *, title: str, x: str, y: str, legend: bool = False) -> None:
    """Title, labels, a light grid and no box."""
    axes.set_title(title, fontsize=TITLE, color=INK, loc="left", pad=8)
    axes.set_xlabel(x, fontsize=TEXT, color=INK)
    axes.set_ylabel(y, fontsize=TEXT, color=INK)
    axes.tick_params(which="both", labelsize=SMALL, colors=FAINT, length=3)
    axes.grid(True, which="major", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    if legend:
        axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK)


def legend_below(figure: Figure, axes: Axes, *, columns: int, **options: Any) -> None:
    """What these axes show, below all axes, where it lies on no mark."""
    look = {"fontsize": SMALL, "frameon": False, "labelcolor": INK} | options
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns, **look
    )
