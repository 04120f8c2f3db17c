"""Several runs side by side: a table with intervals, curves over one another, what differs."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from nasgen.networks.costs import count
from nasgen.report import words
from nasgen.report.card import number
from nasgen.report.history import series
from nasgen.report.page.cells import network_cards
from nasgen.report.page.elements import (
    Chart,
    axis,
    cost_axis,
    figure,
    grid,
    height_axis,
    legend,
    line,
    look,
    table,
    tag,
)
from nasgen.report.page.html import document
from nasgen.report.page.run import OURS, WINNER, Run
from nasgen.report.page.search import best_points, score_title, scores_of
from nasgen.report.page.summary import figures_of, interval, opener
from nasgen.statistics import interval_of_mean
from nasgen.training.progress import duration
from nasgen.types import METRICS

_SAME = ("seed",)  # settings that runs of one group may differ in


def comparison(runs: Mapping[str, Run]) -> str:
    """The page of runs, by the names that they are to have on it."""
    title = "Runs side by side"
    charts = [best(runs, over=over) for over in ("scores", "seconds")]
    trained = [validation(runs), tested(runs)]
    parts = [
        ("What was asked and what came of it", _overview(runs) + _groups(runs)),
        ("The search", _row(charts)),
        ("Training and test", _row(trained)),
        ("What differs between them", _differences(runs)),
    ]
    body = "".join(
        tag("section", tag("h2", name) + content, cls="part") for name, content in parts if content
    )
    head = tag("header", tag("p", "nasgen", cls="note") + tag("h1", escape(title)))
    return document(title, head + tag("main", body + _library(runs)))


def _row(charts: Sequence[Chart | None]) -> str:
    there = "".join(figure(chart) for chart in charts if chart is not None)
    return tag("div", there, cls="row") if there else ""


def network_name(number_of_run: int) -> str:
    """Under which a run's winner is opened."""
    return f"run-{number_of_run}"


def _overview(runs: Mapping[str, Run]) -> str:
    rows = []
    for index, (name, run) in enumerate(runs.items()):
        winner, results = run.networks.get(WINNER), figures_of(run)
        button = opener({network_name(index)} if winner else (), network_name(index), name)
        used = None if winner is None else count(winner.plan)
        costs = ["", ""] if used is None else [_cost(run, used, n) for n in ("params", "macs")]
        ours = run.methods.get(OURS)
        best_score = "" if ours is None else f"{scores_of(ours).max():.3g}"
        spent = sum(stage.get("seconds", 0.0) for stage in run.stages.values())
        state = "" if run.is_finished else " (not ended)"
        task = escape(run.task.name if run.task else "")
        exact = "" if ours is None else number(len(ours["scores"]))
        rows.append(
            (
                button + state,
                task,
                _metric(run, results),
                *costs,
                best_score,
                exact,
                duration(spent),
            )
        )
    header = ("Run", "Task", "Test", "Parameters", "MACs", "Best score", "Exact scores", "Time")
    caption = "Intervals are of 95 %, over test examples. In brackets: of the bound that was asked."
    return table(header, rows, caption=caption)


def _cost(run: Run, used: Any, name: str) -> str:
    bound, value = getattr(run.budget, name), getattr(used, name)
    return number(value) + ("" if bound is None else f" ({100 * value / bound:.0f} %)")


def _metric(run: Run, results: Mapping[str, Any]) -> str:
    value = None if run.task is None else results.get(f"test_{run.task.metric}")
    if value is None:
        return ""
    said, ends = words.amount(value, run.task), interval(results, run.task)
    if ends is None:
        return said
    low, high = (words.amount(one, run.task) for one in ends)
    return f"{said} ({low.removesuffix(' %')} to {high}) {escape(words.title(run.task))}"


def _groups(runs: Mapping[str, Run]) -> str:
    """Of runs that differ in their seeds alone: means with their intervals."""
    groups: dict[str, list[Run]] = {}
    for run in runs.values():
        if run.task is not None and f"test_{run.task.metric}" in run.results:
            groups.setdefault(_settings(run), []).append(run)
    rows = []
    for members in groups.values():
        if len(members) < 2:
            continue
        task = members[0].task
        values = np.array([run.results[f"test_{task.metric}"] for run in members], float)
        low, high = (words.amount(one, task) for one in interval_of_mean(values))
        seeds = ", ".join(str(run.config.get("seed")) for run in members)
        mean = f"{words.amount(values.mean(), task)} ({low.removesuffix(' %')} to {high})"
        rows.append((escape(task.name), seeds, mean, number(len(members))))
    caption = "Runs that differ in their seeds alone: the mean, and its interval by Student's t."
    return table(("Task", "Seeds", "Mean", "Runs"), rows, caption=caption) if rows else ""


def _settings(run: Run) -> str:
    return str(sorted((k, str(v)) for k, v in run.config.items() if k not in _SAME))


def best(runs: Mapping[str, Run], *, over: str) -> Chart | None:
    """The best score so far of each run's own search, where all have one fitness."""
    with_scores = {name: run for name, run in runs.items() if OURS in run.methods}
    titles = {score_title(run) for run in with_scores.values()}
    if len(titles) != 1:
        return None
    named = {"scores": "networks scored exactly", "seconds": "seconds of the search"}[over]
    drawn = [
        line(name, points, index, step="end")
        for index, (name, run) in enumerate(with_scores.items())
        if (points := best_points(run.methods[OURS], over))
    ]
    option = {
        "legend": legend(),
        "grid": grid(),
        "tooltip": {"trigger": "axis"},
        "xAxis": axis(named),
        "yAxis": height_axis(f"best {titles.pop()}", scale=True),
        "series": drawn,
    }
    return Chart(f"best-over-{over}", f"nasgen's own search, over {named}.", option)


def validation(runs: Mapping[str, Run]) -> Chart | None:
    """The validation metric over steps, of the runs that share the first one's metric."""
    metric = next((run.task.metric for run in runs.values() if run.task), None)
    drawn = []
    for index, (name, run) in enumerate(runs.items()):
        if run.task is None or run.task.metric != metric:
            continue
        steps, values = series(run.history, "eval", metric)
        scale = 100 if METRICS[metric].fraction else 1
        points = [[int(s), scale * float(v)] for s, v in zip(steps, values, strict=True)]
        drawn += [line(name, points, index)] if points else []
    if not drawn:
        return None
    title = METRICS[metric].title + (", %" if METRICS[metric].fraction else "")
    option = {
        "legend": legend(),
        "grid": grid(),
        "tooltip": {"trigger": "axis"},
        "xAxis": axis("step"),
        "yAxis": height_axis(title, scale=True),
        "series": drawn,
    }
    return Chart("validation", "The validation metric over steps of the training.", option)


def tested(runs: Mapping[str, Run]) -> Chart | None:
    """The test metric against params, with its intervals, of runs that share the first's metric."""
    metric = next((run.task.metric for run in runs.values() if run.task), None)
    drawn, costs, shown = [], [], []
    for index, (name, run) in enumerate(runs.items()):
        results, winner = figures_of(run), run.networks.get(WINNER)
        if winner is None or run.task.metric != metric or results.get(f"test_{metric}") is None:
            continue
        scale = 100 if METRICS[metric].fraction else 1
        params, value = count(winner.plan).params, scale * results[f"test_{metric}"]
        tip = [name, f"{number(params)} parameters", _metric(run, results)]
        point = {"value": [params, value], "tip": tip, "net": network_name(index)}
        costs.append(params)
        shown.append(value)
        kept = {"type": "scatter", "name": name, "data": [point], "symbolSize": 12, **look(index)}
        ends = interval(results, run.task)
        if ends is not None:
            bar = [[{"coord": [params, scale * one]} for one in ends]]
            shown += [scale * one for one in ends]
            style = {"color": f"{look(index)['color']}", "width": 2, "type": "solid"}
            kept["markLine"] = {"silent": True, "symbol": "none", "lineStyle": style, "data": bar}
        drawn.append(kept)
    if not drawn:
        return None
    title = METRICS[metric].title + (", %" if METRICS[metric].fraction else "")
    option = {
        "legend": legend(),
        "grid": grid(right=44),
        "tooltip": {"trigger": "item", "tips": True},
        "xAxis": cost_axis("parameters", costs, axis),
        "yAxis": height_axis(f"test {title}", **_limits(shown)),
        "series": drawn,
    }
    return Chart("tested", "The test metric, bars its 95 % intervals, against the cost.", option)


def _limits(values: Sequence[float]) -> dict[str, float]:
    """The ends of an axis that shows all values, whole numbers where these are not near."""
    low, high = min(values), max(values)
    digits = 0 if high - low > 1 else 2 - math.floor(math.log10(max(high - low, 1e-6)))
    unit = 10.0**-digits
    ends = math.floor(low / unit) * unit, math.ceil(high / unit) * unit
    return dict(zip(("min", "max"), (round(one, digits) for one in ends), strict=True))


def _differences(runs: Mapping[str, Run]) -> str:
    keys = sorted({key for run in runs.values() for key in run.config})
    rows = []
    for key in keys:
        values = [str(run.config.get(key, "–")) for run in runs.values()]
        if len(set(values)) > 1:
            rows.append((tag("code", escape(key)), *map(escape, values)))
    if not rows:
        return tag("p", "No setting.", cls="note")
    return table(("Setting", *runs), rows)


def _library(runs: Mapping[str, Run]) -> str:
    kept = []
    for index, (name, run) in enumerate(runs.items()):
        if winner := run.networks.get(WINNER):
            inner = tag("h3", escape(name)) + network_cards(winner, run.ops)
            kept.append(tag("template", inner, data_net=network_name(index)))
    return "".join(kept)
