"""A network as a row of cards, from the stem to the classifier: its cells drawn as graphs in SVG,
with what every node costs over all repeats of its cell."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from nasgen.networks.costs import step_macs
from nasgen.networks.plan import Plan, num_weights
from nasgen.report.card import op_label, short
from nasgen.report.cell_layout import Layout, Sizes, arrow_tips, layout, routes
from nasgen.report.page.elements import amount, tag
from nasgen.report.page.run import Network
from nasgen.types import Cell, Op, Stage

SIZES = Sizes(box=58, end=24, gap=30, height=128, lane=7, space=18)
_MARGIN, _LINE = 8, 14  # pixels
_STEP = re.compile(r"stage(\d+)_cell\d+_(?:node(\d+)_)?")


class Cost(NamedTuple):
    """Of some layers. ms: None where it was not measured."""

    params: int = 0
    macs: int = 0
    ms: float | None = None

    def plus(self, other: "Cost") -> "Cost":
        """Of both."""
        known = [one for one in (self.ms, other.ms) if one is not None]
        return Cost(
            self.params + other.params, self.macs + other.macs, sum(known) if known else None
        )


Place = tuple[int | str, int | None]  # stage and node (None: around the nodes); or a layer's name


def costs_of_places(plan: Plan, ms: Mapping[str, float]) -> dict[Place, Cost]:
    """What each node of each stage's cell costs, over all repeats, and each layer outside of cells.
    ms: by names of layers."""
    found: dict[Place, Cost] = {}
    for step in plan.steps:
        match = _STEP.match(step.name)
        place = (step.name, None)
        if match:
            place = int(match[1]), None if match[2] is None else int(match[2])
        cost = Cost(num_weights(step.layer), step_macs(step), ms.get(step.name))
        found[place] = found.get(place, Cost()).plus(cost)
    return found


def network_cards(network: Network, ops: Sequence[Op], ms: Mapping[str, float] = {}) -> str:
    """All cards of a network. ms: milliseconds by names of layers, where they were measured."""
    costs, plan = costs_of_places(network.plan, ms), network.plan
    series = len(plan.input_shape) == 2
    sizes = {step.name: step.out_size for step in plan.steps}
    stages = list(zip(network.architecture.macro.stages, network.architecture.cells, strict=True))
    cards = []
    for number, (stage, cell) in enumerate(stages):
        own = {place[1]: cost for place, cost in costs.items() if place[0] == number}
        total = Cost()
        for cost in own.values():
            total = total.plus(cost)
        names = [name for name in sizes if name.startswith(f"stage{number}_")]
        picture = cell_svg(cell, ops, own, series=series)
        cards.append(_card(_stage_title(number, stage), sizes[names[-1]], total, picture, own))
    outside = [(name, sizes[name], costs[name, None]) for name, _ in costs if isinstance(name, str)]
    before, after = _outside("Before the stages", outside[:1]), _outside("After", outside[1:])
    return tag("div", "".join([before, *cards, after]), cls="network")


def _stage_title(number: int, stage: Stage) -> str:
    cells = f"{stage.repeats} cells" if stage.repeats > 1 else "1 cell"
    return f"Stage {number + 1}: {cells}, {stage.channels} channels, stride {stage.stride}"


def _card(
    title: str, size: tuple[int, int], cost: Cost, picture: str, own: Mapping[int | None, Cost]
) -> str:
    around = own.get(None, Cost())
    note = f"to {size[0]}×{size[1]}; {_words(cost)}"
    if around.params:
        note += f"; of these {_words(around)} to change width or size"
    head = tag("h4", escape(title)) + tag("p", note, cls="note")
    return tag("section", head + picture, cls="card")


def _outside(title: str, layers: Sequence[tuple[str, tuple[int, int], Cost]]) -> str:
    """A card of layers that belong to no cell."""
    lines = [
        f"{tag('b', escape(name.replace('_', ' ')))} to {size[0]}×{size[1]}: {_words(cost)}"
        for name, size, cost in layers
    ]
    texts = "".join(tag("p", line, cls="note") for line in lines)
    return tag("section", tag("h4", escape(title)) + texts, cls="card")


def _words(cost: Cost) -> str:
    parts = [f"{short(cost.params, digits=3)} params", f"{short(cost.macs, digits=3)} MACs"]
    return ", ".join(parts + ([] if cost.ms is None else [f"{amount(cost.ms)} ms"]))


def cell_svg(
    cell: Cell, ops: Sequence[Op], costs: Mapping[int | None, Cost], *, series: bool = False
) -> str:
    """The graph from top to bottom. costs: of the nodes, by number from 1."""
    places = layout(cell, SIZES)
    width = places.high - places.low + 2 * _MARGIN
    height = places.columns[-1][1] + 2 * _MARGIN
    names = [op_label(*ops[op], series=series).replace("x", "×") for op in cell.ops]
    parts = [f'<path d="{_path(curve, places)}"/>' for curve in routes(cell, places)]
    for down, across in arrow_tips(cell, places):
        x, y = _point((down, across), places)
        parts.append(f'<path class="tip" d="M{x:.0f} {y:.0f}l-4 -6h8z"/>')
    for node, (column, middle) in enumerate(places.boxes):
        text = ["in"] if node == 0 else ["out"] if node > len(names) else [names[node - 1]]
        kind = ops[cell.ops[node - 1]].kind.split("_")[0] if len(text[0]) > 3 else "end"
        if kind != "end":
            text += _box_lines(costs.get(node, Cost()))
        parts.append(_box(places.columns[column], middle, places, text, kind))
    said = "A cell: " + ", ".join(f"{_said(p, names)} to {_said(c, names)}" for p, c in cell.edges)
    shape = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return (
        f'<svg class="cell" {shape} role="img" aria-label="{escape(said)}">{"".join(parts)}</svg>'
    )


def _said(node: int, names: Sequence[str]) -> str:
    if node == 0:
        return "input"
    return "output" if node > len(names) else f"{names[node - 1]} ({node})"


def _box_lines(cost: Cost) -> list[str]:
    """What stands in a box below its name."""
    params, macs = (short(value, digits=3) for value in cost[:2])
    if cost.ms is None:
        return [f"{short(cost.params, digits=3)} params", f"{short(cost.macs, digits=3)} MACs"]
    return [
        f"{short(cost.params, digits=3)} p, {short(cost.macs, digits=3)} MACs",
        f"{amount(cost.ms)} ms",
    ]


def _point(place: tuple[float, float], places: Layout) -> tuple[float, float]:
    """Pixels of what lies so far along the columns and across them."""
    return place[1] - places.low + _MARGIN, place[0] + _MARGIN


def _path(curve: Sequence[tuple[float, float]], places: Layout) -> str:
    points = [f"{x:.0f} {y:.0f}" for x, y in (_point(one, places) for one in curve)]
    return f"M{points[0]}C{' '.join(points[1:])}"


def _box(
    column: tuple[float, float], middle: float, places: Layout, lines: Sequence[str], kind: str
) -> str:
    wide = places.height * (1 if kind != "end" else 0.75)  # edges end on 0.66 of it
    x, y = _point((column[0], middle - wide / 2), places)
    tall = column[1] - column[0]
    first = y + tall / 2 - _LINE * (len(lines) - 1) / 2 + 4
    texts = [
        f'<text{"" if i else " class=name"} x="{x + wide / 2:.0f}" y="{first + _LINE * i:.0f}">'
        f"{escape(line)}</text>"
        for i, line in enumerate(lines)
    ]
    shape = f'x="{x:.0f}" y="{y:.0f}" width="{wide:.0f}" height="{tall:.0f}" rx="6"'
    return f'<rect class="op {escape(kind)}" {shape}/>{"".join(texts)}'
