"""The page itself: sections in their order, the style, the script and ECharts in one file."""

from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import NamedTuple

from nasgen.report.page import search, space, summary, training
from nasgen.report.page.cells import network_cards
from nasgen.report.page.elements import Chart, figure, tag
from nasgen.report.page.examples import example_cards
from nasgen.report.page.run import WINNER, Run

LIMIT = 5_000_000  # bytes of a page


class Section(NamedTuple):
    """title: its heading, and with words for spaces its place. content: HTML, empty where there is
    nothing yet. missing: what it waits for, said where it is empty."""

    title: str
    content: str
    missing: str = ""


def page(run: Run) -> str:
    """The report of a run, whole or so far."""
    sections = list(_sections(run))
    there = [one for one in sections if one.content]
    missing = [f"{one.title}: {one.missing}" for one in sections if not one.content and one.missing]
    title = f"A network for {run.task.name}" if run.task else f"A run of {run.pipeline}"
    head = [
        tag("p", escape(f"nasgen · {run.folder}"), cls="note"),
        tag("h1", escape(title)),
        _state(run, missing),
    ]
    body = [
        tag("header", "".join(head)),
        _contents(there),
        tag("main", "".join(map(_section, there)) + _library(run)),
    ]
    return document(title, "".join(body))


def document(title: str, body: str) -> str:
    """A whole page that asks for nothing from anywhere."""
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    )
    head = "".join(
        [
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="color-scheme" content="light dark">',
            '<link rel="icon" href="data:,">',
            tag("title", escape(title)),
            tag("style", _asset("page.css")),
        ]
    )
    scripts = tag("script", _asset("vendor/echarts.min.js")) + tag("script", _asset("page.js"))
    dialog = tag("dialog", "", id="cells", aria_label="The cells of a network")
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>'
        f"<body>{body}{dialog}{scripts}</body></html>\n"
    )


@cache
def _asset(name: str) -> str:
    text = (files("nasgen.report.page") / name).read_text(encoding="utf-8")
    if "</script" in text.lower() or "</style" in text.lower():
        raise ValueError(f"{name} must not end the element that it stands in.")
    return text


def _sections(run: Run) -> Iterator[Section]:
    designs = run.pipeline in ("design", "compare")
    trains = designs or run.pipeline == "train_model"
    if not trains:
        yield Section("Results", summary.plain_results(run), "the run has not ended")
        yield Section("Where the time went", summary.times(run))
        yield Section("Do it again", summary.again(run))
        return
    yield Section("Asked and delivered", _top(run))
    if designs:
        over = [search.best_so_far(run, over=what) for what in ("scores", "seconds")]
        yield Section("The search", _row(over), "nothing has been scored yet")
        fronts = [search.pareto(run, cost) for cost in ("params", "macs")]
        shown = _row(fronts) + _row([search.candidates(run)])
        yield Section("Score, cost and budget", shown, "nothing has been scored yet")
        yield Section("The metric space", _row([space.cell_map(run)]), "follows the search")
        yield Section("The finalists", summary.finalists(run), _no_finalists(run))
    winner, ms = run.networks.get(WINNER), _milliseconds(run)
    cards = network_cards(winner, run.ops, ms) if winner else ""
    yield Section("The network", cards, "none has been chosen yet")
    curves = [training.loss_curve(run), training.metric_curve(run)]
    yield Section("The training", _row(curves), "has not begun")
    judged = [
        training.confusion(run),
        training.labels_found(run),
        training.predicted_numbers(run),
        training.error_map(run),
    ]
    errors = _row(judged, example_cards(run))
    yield Section("Where it errs", errors, "the network is not tested yet")
    if designs:
        reason = "one score alone was computed, or none yet"
        yield Section("Do the scores agree?", _row([search.agreement(run)]), reason)
    layers = _row([training.layer_bars(run)])
    yield Section("Latency of each layer", layers, "layers are timed when a network is delivered")
    yield Section("Where the time went", summary.times(run), "nothing has ended yet")
    yield Section("Do it again", summary.again(run))


def _top(run: Run) -> str:
    pair = tag("section", tag("h3", "Asked for") + summary.asked(run))
    pair += tag("section", tag("h3", "Delivered") + summary.delivered(run))
    return summary.headlines(run) + tag("div", pair, cls="pair")


def _no_finalists(run: Run) -> str:
    return "follow the search" if run.config.get("design.finalists") else ""


def _milliseconds(run: Run) -> dict[str, float]:
    times = run.layer_times
    return {} if times is None else dict(zip(times["names"], times["ms"], strict=True))


def _row(charts: Sequence[Chart | None], *others: str) -> str:
    there = [figure(chart) for chart in charts if chart is not None]
    there += [one for one in others if one]
    return tag("div", "".join(there), cls="row") if there else ""


def _state(run: Run, missing: Sequence[str]) -> str:
    """Where the run stands, and what the page lacks."""
    if run.is_finished and not missing:
        return ""
    stages = [tag("li", f"{escape(name.replace('_', ' '))} ✓") for name in run.stages]
    stages += [tag("li", escape(name.replace("_", " ")), cls="note") for name in run.to_come]
    said = "This run is finished" if run.is_finished else "This run has not ended"
    lacks = tag("ul", "".join(tag("li", escape(one)) for one in missing)) if missing else ""
    text = tag("p", said + ("; not on this page:" if missing else "."))
    steps = tag("ul", "".join(stages), cls="stages") if not run.is_finished else ""
    return tag("aside", steps + text + lacks, cls="state")


def _contents(sections: Sequence[Section]) -> str:
    links = [tag("a", escape(one.title), href=f"#{anchor(one.title)}") for one in sections]
    return tag("nav", "".join(links), aria_label="Sections")


def _section(section: Section) -> str:
    head = tag("h2", escape(section.title))
    return tag("section", head + section.content, id=anchor(section.title), cls="part")


def anchor(title: str) -> str:
    """The place of a section on the page."""
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")


def _library(run: Run) -> str:
    """The networks that a click opens."""
    ms, kept = _milliseconds(run), []
    for name, one in run.networks.items():
        own = ms if name == WINNER else {}
        inner = tag("h3", escape(one.title)) + network_cards(one, run.ops, own)
        kept.append(tag("template", inner, data_net=name))
    return "".join(kept)
