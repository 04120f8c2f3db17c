"""Pieces of the page: elements, tables, figures, and numbers as they are shown."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from nasgen.report.card import METHODS


class Chart(NamedTuple):
    """A figure drawn by ECharts: its name on the page, a caption that says what it shows, and the
    option. Colours are CSS variables, as `var(--ink)`; a data item's `tip` is what stands beside
    the pointer, its `net` the network that a click opens. height: pixels. choices: what a menu
    changes of the option, by their names."""

    name: str
    caption: str
    option: Mapping[str, Any]
    height: int = 340
    choices: Mapping[str, Mapping[str, Any]] = {}


_FAR = 20  # between the least and the most of an axis, from where on it is logarithmic
COLOURS = ("ours", "second", "third", "fourth", "fifth", "sixth")
SYMBOLS = ("circle", "rect", "triangle", "diamond", "pin", "arrow")
AXIS = {
    "nameLocation": "middle",
    "nameTextStyle": {"color": "var(--ink)"},
    "axisLabel": {"color": "var(--faint)", "hideOverlap": True},
    "axisLine": {"show": True, "onZero": False, "lineStyle": {"color": "var(--rule)"}},
    "splitLine": {"lineStyle": {"color": "var(--grid)"}},
}


# what a chosen network looks like in a drawing
STAR = {
    "symbol": "path://M0 -10L2.9 -3.1 9.5 -3.1 4.2 1.2 6 8 0 4 -6 8 -4.2 1.2 -9.5 -3.1 -2.9 -3.1Z",
    "symbolSize": 20,
    "itemStyle": {"color": "var(--star)", "borderColor": "var(--ink)"},
}


def method_title(name: str) -> str:
    """What a method is called."""
    return METHODS.get(name, name.replace("_", " "))


def look(number: int) -> dict[str, Any]:
    """Colour and symbol of a series; no two have both alike, so colour alone tells nothing."""
    colour = f"var(--{COLOURS[number % len(COLOURS)]})"
    return {
        "color": colour,
        "symbol": SYMBOLS[number % len(SYMBOLS)],
        "itemStyle": {"color": colour},
        "lineStyle": {"color": colour, "width": 2},
    }


def line(name: str, points: Sequence[Sequence[float]], number: int, **more: Any) -> dict[str, Any]:
    """A line of a chart, and its marks where they are few."""
    marks = {"showSymbol": len(points) <= 40, "symbolSize": 6}
    return {"type": "line", "name": name, "data": points, **look(number), **marks, **more}


def axis(name: str, *, kind: str = "value", gap: int = 30, **more: Any) -> dict[str, Any]:
    """A horizontal axis with its name below, or a vertical one of categories."""
    return {**AXIS, "type": kind, "name": name, "nameGap": gap, **more}


def height_axis(name: str, **more: Any) -> dict[str, Any]:
    """A vertical axis of numbers with its name above, where it is read without turning the head."""
    place = {"nameLocation": "end", "nameGap": 14}
    style = {**AXIS["nameTextStyle"], "align": "left", "padding": [0, 0, 0, -44]}
    return {**AXIS, "type": "value", "name": name, **place, "nameTextStyle": style, **more}


def cost_axis(
    name: str, values: Sequence[float], make: Callable[..., dict[str, Any]]
) -> dict[str, Any]:
    """An axis (`axis` or `height_axis`) for costs: logarithmic where they differ by far."""
    low, high = min(values, default=1), max(values, default=1)
    kind = "log" if low > 0 and high / low > _FAR else "value"
    return make(name) | {"type": kind, "scale": True, "short": True}


def legend(**more: Any) -> dict[str, Any]:
    """Above the drawing, in as many rows as it takes."""
    size = {"itemWidth": 14, "itemHeight": 9}
    return {"type": "scroll", "top": 0, "textStyle": {"color": "var(--ink)"}, **size, **more}


def grid(**more: Any) -> dict[str, Any]:
    """The drawing's place, with room for the names of both axes and a legend."""
    return {"left": 56, "right": 18, "top": 62, "bottom": 48, **more}


def tag(name: str, content: str, **attributes: Any) -> str:
    """An element; `content` is HTML already. `cls` is its class."""
    said = "".join(
        f' {"class" if key == "cls" else key.replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{said}>{content}</{name}>"


def figure(chart: Chart) -> str:
    """A chart with its caption, its menu if it has one, and its option as JSON."""
    content = {"option": chart.option, "choices": chart.choices, "caption": chart.caption}
    menu = ""
    if chart.choices:
        items = "".join(tag("option", escape(name)) for name in chart.choices)
        label = f"Colour and choice of {chart.name.replace('-', ' ')}"
        menu = tag("select", items, aria_label=label, data_for=chart.name)
    place = tag("div", "", cls="chart", id=chart.name, style=f"height:{chart.height}px")
    caption = tag("figcaption", escape(chart.caption))
    return tag("figure", menu + place + as_json(content, chart.name) + caption, cls="figure")


def as_json(value: Any, name: str) -> str:
    """Data for the page's script. Raises ValueError for numbers that JSON does not know."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" data-chart="{escape(name)}">{text}</script>'


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", cls: str = ""
) -> str:
    """A table; cells are HTML already, and stand right where they are numbers."""
    head = tag("tr", "".join(tag("th", escape(name), scope="col") for name in header))
    body = "".join(tag("tr", "".join(map(_cell, row))) for row in rows)
    said = tag("caption", escape(caption)) if caption else ""
    inner = said + tag("thead", head) + tag("tbody", body)
    return tag("div", tag("table", inner, cls=cls or None), cls="scroll", tabindex=0)


def _cell(content: str) -> str:
    return tag("td", content, cls="number" if content[:1].isdigit() else None)


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they are (HTML already); empty ones are left out."""
    return tag("dl", "".join(tag("dt", escape(n)) + tag("dd", text) for n, text in pairs if text))


def amount(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
