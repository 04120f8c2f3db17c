"""Cells drawn as graphs by matplotlib; `cell_layout` says what lies where."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from nasgen.report import style
from nasgen.report.cell_layout import HEIGHT, Layout, arrow_tips, layout, routes
from nasgen.types import Architecture, Cell, Op

MARGIN, BETWEEN, TITLE = 0.08, 0.32, 0.27  # inches

_TINTS = {
    "avg_pool": "#e8eaed",
    "conv": "#cfe3f3",
    "sep_conv": "#cdeadf",
    "dil_conv": "#e4f3c8",
    "mbconv": "#fbe3b5",
    "bconv": "#f6d3c3",
}


def draw_stages(
    architecture: Architecture, ops: Sequence[Op], *, headline: str = "", series: bool = False
) -> Figure:
    """A panel a stage: its cell, and in the title its channels, stride and repeats. headline: above
    all of them. series: their windows have one side."""
    titles = [
        f"Stage {i}:  {s.repeats} cell{'s' * (s.repeats > 1)},  {s.channels} channels,  "
        f"stride {s.stride}"
        for i, s in enumerate(architecture.macro.stages)
    ]
    return draw_cells(architecture.cells, titles, ops, headline=headline, series=series)


def draw_cells(
    cells: Sequence[Cell],
    titles: Sequence[str],
    ops: Sequence[Op],
    *,
    headline: str = "",
    total_width: float = style.WIDTH,
    series: bool = False,
) -> Figure:
    """A panel a cell, as many in a row as fit the width (inches). headline, series: as in
    `draw_stages`."""
    layouts = [layout(cell) for cell in cells]
    widths = [
        max(part.columns[-1][1], 0.062 * len(t)) for part, t in zip(layouts, titles, strict=True)
    ]
    rows: list[list[int]] = []
    right = total_width
    for index, width in enumerate(widths):
        if right + BETWEEN + width > total_width - 2 * MARGIN:
            rows.append([])
            right = -BETWEEN
        rows[-1].append(index)
        right += BETWEEN + width
    heights = [TITLE + max(layouts[i].high - layouts[i].low for i in row) for row in rows]
    above = BETWEEN if headline else 0
    total = sum(heights) + BETWEEN * 0.8 * (len(rows) - 1) + 2 * MARGIN + above
    figure = Figure(figsize=(total_width, total), dpi=style.DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, total_width), ylim=(0, total))
    axes.axis("off")
    top = total - MARGIN
    axes.text(MARGIN, top, headline, va="top", fontsize=style.TITLE, color=style.INK, weight="bold")
    top -= above
    for row, height in zip(rows, heights, strict=True):
        left = MARGIN
        for index in row:
            axes.text(left, top, titles[index], va="top", fontsize=style.TEXT, color=style.INK)
            low, high = layouts[index].low, layouts[index].high
            middle = top - TITLE - (height - TITLE) / 2 - (low + high) / 2
            _draw(axes, cells[index], ops, layouts[index], left, middle, series)
            left += widths[index] + BETWEEN
        top -= height + BETWEEN * 0.8
    return figure


def _draw(
    axes: Axes, cell: Cell, ops: Sequence[Op], places: Layout, x: float, y: float, series: bool
) -> None:
    for curve in routes(cell, places):
        points = [(px + x, py + y) for px, py in curve]
        path = Path(points, [Path.MOVETO, *[Path.CURVE4] * (len(points) - 1)])
        look = {"facecolor": "none", "edgecolor": style.FAINT, "linewidth": 1.0}
        axes.add_patch(PathPatch(path, capstyle="round", **look))
    for px, py in arrow_tips(cell, places):
        size = 0.055
        tip = [
            (px + x, py + y),
            (px + x - size, py + y + size / 2),
            (px + x - size, py + y - size / 2),
        ]
        axes.add_patch(PathPatch(Path([*tip, tip[0]], closed=True), color=style.FAINT, linewidth=0))
    output = len(cell.ops) + 1
    for node, (column, middle) in enumerate(places.boxes):
        left, right = places.columns[column]
        op = None if node in (0, output) else ops[cell.ops[node - 1]]
        text = {0: "in", output: "out"}.get(node) or _label(op, series)
        tint = "white" if op is None else _TINTS.get(op.kind.split("_")[0], _TINTS.get(op.kind))
        corner = (left + x + 0.05, middle + y - HEIGHT / 2 + 0.05)
        size = (right - left - 0.1, HEIGHT - 0.1)
        look = {"facecolor": tint or "white", "edgecolor": style.INK, "linewidth": 0.9}
        axes.add_patch(FancyBboxPatch(corner, *size, boxstyle="round,pad=0.05", **look))
        centre = ((left + right) / 2 + x, middle + y)
        place = {"ha": "center", "va": "center", "linespacing": 1.15}
        axes.text(*centre, text, fontsize=7.5, color=style.INK, **place)


def _label(op: Op, series: bool) -> str:
    sides = [str(op.kernel)] * (1 if series else 2)
    return op.kind + ("\n" + "\N{MULTIPLICATION SIGN}".join(sides) if op.kernel else "")
