"""Cells drawn as graphs: boxes from left to right by depth, edges that never run through a box.

A column holds the nodes of one depth, and a lane for each earlier node that still has a child
further right; edges bend only between columns and run straight through them, so they meet no box.
"""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from nasgen.report import style
from nasgen.types import Architecture, Cell, Op

# Inches.
BOX, END, GAP, HEIGHT = 0.68, 0.34, 0.27, 0.36
LANE, SPACE = 0.05, 0.13
MARGIN, BETWEEN, TITLE = 0.08, 0.32, 0.27

_TINTS = {
    "avg_pool": "#e8eaed",
    "conv": "#cfe3f3",
    "sep_conv": "#cdeadf",
    "dil_conv": "#e4f3c8",
    "mbconv": "#fbe3b5",
    "bconv": "#f6d3c3",
}


class Layout(NamedTuple):
    """Where a cell's parts lie, in inches; x from 0 to the right, y up from the middle.

    columns: of each column its left and right. boxes: of each node its column and y.
    lanes: `(node, column) -> y` of the line that carries the node's value through a column.
    low, high: the vertical extent.
    """

    columns: list[tuple[float, float]]
    boxes: list[tuple[int, float]]
    lanes: dict[tuple[int, int], float]
    low: float
    high: float


def layout(cell: Cell) -> Layout:
    """Columns by longest path from the input; in a column an order that follows the parents."""
    output = len(cell.ops) + 1
    depth = [0] * (output + 1)
    for parent, child in cell.edges:  # sorted by parent, and parents have smaller numbers
        depth[child] = max(depth[child], depth[parent] + 1)
    last = {node: max(depth[c] for p, c in cell.edges if p == node) for node in range(output)}
    columns = [[n for n in range(output + 1) if depth[n] == d] for d in range(depth[output] + 1)]
    places: dict[tuple[int, int], float] = {}  # (node, column) -> y
    for column, nodes in enumerate(columns):
        lanes = [n for n in range(output) if depth[n] < column < last[n]]
        _stack(places, cell, depth, column, nodes, lanes)
    edges, left = [], 0.0
    for column in range(len(columns)):
        width = END if column in (0, len(columns) - 1) else BOX
        edges.append((left, left + width))
        left += width + GAP
    boxes = [(depth[n], places[n, depth[n]]) for n in range(output + 1)]
    lanes = {key: y for key, y in places.items() if depth[key[0]] != key[1]}
    tops = [(y, HEIGHT / 2) for _, y in boxes] + [(y, LANE) for y in lanes.values()]
    low, high = min(y - half for y, half in tops), max(y + half for y, half in tops)
    return Layout(edges, boxes, lanes, low, high)


def _stack(places, cell: Cell, depth, column: int, nodes: list[int], lanes: list[int]) -> None:
    """Adds a column's places: stacked in the order of what feeds them, the boxes' middle at 0."""

    def height_of_sources(node: int) -> float:
        sources = [node] if node in lanes else [p for p, c in cell.edges if c == node]
        ys = [places[s, column - 1] for s in sources]
        return sum(ys) / len(ys) if ys else 0.0

    # Where box and lane want the same height, lanes go alternately above and below.
    tie = {node: (0.01 if node % 2 else -0.01) * (node in lanes) for node in nodes + lanes}
    order = sorted(nodes + lanes, key=lambda n: height_of_sources(n) + tie[n])
    y, before = 0.0, None
    for node in order:
        half = LANE / 2 if node in lanes else HEIGHT / 2
        y += (before + SPACE + half) if before is not None else half
        places[node, column], before = y, half
    middle = sum(places[n, column] for n in nodes) / len(nodes)
    for node in order:
        places[node, column] -= middle


def draw_stages(architecture: Architecture, ops: Sequence[Op], *, series: bool = False) -> Figure:
    """A panel a stage: its cell, and in the title its channels, stride and repeats. series: their
    windows have one side."""
    titles = [
        f"Stage {i}:  {s.repeats} cell{'s' * (s.repeats > 1)},  {s.channels} channels,  "
        f"stride {s.stride}"
        for i, s in enumerate(architecture.macro.stages)
    ]
    return draw_cells(architecture.cells, titles, ops, series=series)


def draw_cells(
    cells: Sequence[Cell],
    titles: Sequence[str],
    ops: Sequence[Op],
    *,
    total_width: float = style.WIDTH,
    series: bool = False,
) -> Figure:
    """A panel a cell, as many in a row as fit the width (inches). series: as in `draw_stages`."""
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
    total = sum(heights) + BETWEEN * 0.8 * (len(rows) - 1) + 2 * MARGIN
    figure = Figure(figsize=(total_width, total), dpi=style.DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, total_width), ylim=(0, total))
    axes.axis("off")
    top = total - MARGIN
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


def _ports(cell: Cell, places: Layout) -> dict[tuple[int, int], float]:
    """Where each edge enters its child's box: spread over the left side in the sources' order."""
    ports = {}
    for child, (column, middle) in enumerate(places.boxes):
        parents = [p for p, c in cell.edges if c == child]
        parents.sort(key=lambda p: places.lanes.get((p, column - 1), places.boxes[p][1]))
        step = min(0.11, 0.24 / max(len(parents) - 1, 1))
        for i, parent in enumerate(parents):
            ports[parent, child] = middle + step * (i - (len(parents) - 1) / 2)
    return ports


def routes(cell: Cell, places: Layout) -> list[list[tuple[float, float]]]:
    """The curves of all edges, each as the points of cubic Bezier pieces. Edges from one node share
    their lanes."""
    ports, curves = _ports(cell, places), {}
    for parent, child in cell.edges:
        column, y = places.boxes[parent]
        for following in range(column + 1, places.boxes[child][0] + 1):
            end = following == places.boxes[child][0]
            y2 = ports[parent, child] if end else places.lanes[parent, following]
            x1, (x2, x3) = places.columns[following - 1][1], places.columns[following]
            bend = (x1 + x2) / 2
            piece = [(x1, y), (bend, y), (bend, y2), (x2, y2)]
            if not end:
                piece += [(x2, y2), (x3, y2), (x3, y2)]
            curves[parent, following, y2] = piece
            y = y2
    return list(curves.values())


def arrow_tips(cell: Cell, places: Layout) -> list[tuple[float, float]]:
    """Where each edge ends, at the left side of its child's box."""
    ports = _ports(cell, places)
    return [(places.columns[places.boxes[c][0]][0], ports[p, c]) for p, c in cell.edges]
