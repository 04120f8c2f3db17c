"""Where the parts of a drawn cell lie: boxes from left to right by depth, edges that never run
through a box.

A column holds the nodes of one depth, and a lane for each earlier node that still has a child
further right; edges bend only between columns and run straight through them, so they meet no box.
"""

from typing import NamedTuple

from nasgen.types import Cell


class Sizes(NamedTuple):
    """Of what is laid out, all in one unit.

    box, end: along the columns, of an op and of the input and output. gap: between columns.
    height: of all boxes, across. lane: what an edge takes up. space: between neighbours.
    """

    box: float
    end: float
    gap: float
    height: float
    lane: float
    space: float


HEIGHT = 0.36
INCHES = Sizes(box=0.68, end=0.34, gap=0.27, height=HEIGHT, lane=0.05, space=0.13)


class Layout(NamedTuple):
    """Where a cell's parts lie; x from 0 along the columns, y across, from the middle.

    columns: of each column its left and right. boxes: of each node its column and y.
    lanes: `(node, column) -> y` of the line that carries the node's value through a column.
    low, high: the extent across. height: of a box.
    """

    columns: list[tuple[float, float]]
    boxes: list[tuple[int, float]]
    lanes: dict[tuple[int, int], float]
    low: float
    high: float
    height: float


def layout(cell: Cell, sizes: Sizes = INCHES) -> Layout:
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
        _stack(places, cell, column, nodes, lanes, sizes)
    edges, left = [], 0.0
    for column in range(len(columns)):
        width = sizes.end if column in (0, len(columns) - 1) else sizes.box
        edges.append((left, left + width))
        left += width + sizes.gap
    boxes = [(depth[n], places[n, depth[n]]) for n in range(output + 1)]
    lanes = {key: y for key, y in places.items() if depth[key[0]] != key[1]}
    tops = [(y, sizes.height / 2) for _, y in boxes] + [(y, sizes.lane) for y in lanes.values()]
    low, high = min(y - half for y, half in tops), max(y + half for y, half in tops)
    return Layout(edges, boxes, lanes, low, high, sizes.height)


def _stack(
    places, cell: Cell, column: int, nodes: list[int], lanes: list[int], sizes: Sizes
) -> None:
    """Adds a column's places: stacked in the order of what feeds them, the boxes' middle at 0."""

    def height_of_sources(node: int) -> float:
        sources = [node] if node in lanes else [p for p, c in cell.edges if c == node]
        ys = [places[s, column - 1] for s in sources]
        return sum(ys) / len(ys) if ys else 0.0

    # Where box and lane want the same height, lanes go alternately above and below.
    small = 0.03 * sizes.height
    tie = {node: (small if node % 2 else -small) * (node in lanes) for node in nodes + lanes}
    order = sorted(nodes + lanes, key=lambda n: height_of_sources(n) + tie[n])
    y, before = 0.0, None
    for node in order:
        half = (sizes.lane if node in lanes else sizes.height) / 2
        y += (before + sizes.space + half) if before is not None else half
        places[node, column], before = y, half
    middle = sum(places[n, column] for n in nodes) / len(nodes)
    for node in order:
        places[node, column] -= middle


def _ports(cell: Cell, places: Layout) -> dict[tuple[int, int], float]:
    """Where each edge enters its child's box: spread over the left side in the sources' order."""
    ports = {}
    for child, (column, middle) in enumerate(places.boxes):
        parents = [p for p, c in cell.edges if c == child]
        parents.sort(key=lambda p: places.lanes.get((p, column - 1), places.boxes[p][1]))
        step = places.height * min(0.3, 0.66 / max(len(parents) - 1, 1))
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
