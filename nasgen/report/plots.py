"""The report's plots as pure functions from numbers to matplotlib figures; the caller saves them.

Nothing global changes: figures are made directly, without pyplot.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from nasgen.report import style, words
from nasgen.report.card import METHODS, SCORES, short
from nasgen.report.history import series
from nasgen.search.pareto import objectives, pareto_set
from nasgen.types import METRICS, Budget, Task


def candidates(
    params: Real[np.ndarray, " networks"],
    macs: Real[np.ndarray, " networks"],
    budget: Budget,
    *,
    fits: Bool[np.ndarray, " networks"],
    exact: Bool[np.ndarray, " networks"],
    winner: int | None = None,
    example: str = "image",
) -> Figure:
    """Params against MACs of all sampled candidates (masks say which fit and which were scored
    exactly), the budget's limits, and the winner by its index. example: what MACs are for one of.
    """
    figure, (axes,) = style.figure(4.4)
    groups = (
        (~fits, "over the budget", {"c": style.GREY, "s": 9, "alpha": 0.6, "marker": "x"}),
        (fits, "within the budget", {"c": style.BLUE, "s": 11, "alpha": 0.6}),
        (exact, "scored exactly", {"c": style.ORANGE, "s": 26, "ec": style.INK, "marker": "s"}),
    )
    for mask, label, look in groups:
        if mask.any():
            text = f"{label} ({mask.sum():,})"
            axes.scatter(params[mask], macs[mask], label=text, linewidths=0.7, **look)
    if winner is not None:
        look = {"c": style.RED, "s": 190, "ec": "white", "marker": "*", "zorder": 5}
        axes.scatter(params[winner], macs[winner], label="the winner", linewidths=0.9, **look)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(0.06)
    _limits(axes, budget)
    count_axis(axes.xaxis)
    count_axis(axes.yaxis)
    style.finish(
        axes, title="Candidates and the budget", x="parameters", y=f"MACs for one {example}"
    )
    style.legend_below(figure, axes, columns=4, handletextpad=0.2)
    return figure


def _limits(axes: Axes, budget: Budget) -> None:
    """The budget's lines, labelled on their inner side at the far end, where few candidates lie."""
    line = {"color": style.INK, "linewidth": 1.1, "linestyle": (0, (4, 3)), "zorder": 1}
    text = {"fontsize": style.SMALL, "color": style.INK}
    if budget.params is not None:
        axes.axvline(budget.params, **line)
        place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        label = f"params \N{LESS-THAN OR EQUAL TO} {short(budget.params)}"
        axes.annotate(label, (budget.params, 0), xytext=(-4, 5), ha="right", **place, **text)
    if budget.macs is not None:
        axes.axhline(budget.macs, **line)
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        label = f"MACs \N{LESS-THAN OR EQUAL TO} {short(budget.macs)}"
        axes.annotate(label, (0, budget.macs), xytext=(5, -4), va="top", **place, **text)


def count_axis(axis: Any, *, steps: tuple[int, ...] = (1, 2, 5)) -> None:
    """Ticks such as `20 k` and `1.5 M`, at these multiples of powers of ten, few enough to read."""
    low, high = axis.get_view_interval()
    steps = (1,) if high / max(low, 1) > 200 else steps
    axis.set_major_locator(LogLocator(base=10, subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_formatter(NullFormatter())


def _score(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def search_curves(curves: Mapping[str, Sequence[float]], *, score: str = "score") -> Figure:
    """Of each method: the best exact score so far, `curves[method][i]` after `i + 1` of them."""
    figure, (axes,) = style.figure(3.5)
    for index, (method, values) in enumerate(curves.items()):
        look = style.SERIES[index % len(style.SERIES)]
        steps = np.arange(1, len(values) + 1)
        every = max(1, len(values) // 8)
        name = METHODS.get(method, method)
        axes.plot(
            steps,
            values,
            drawstyle="steps-post",
            label=f"{name}: {_score(values[-1])}" if len(values) else name,
            linewidth=1.8,
            markersize=4.5,
            markevery=every,
            **look,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.finish(
        axes,
        title="Search: the best so far",
        x="networks scored exactly",
        y=f"best {SCORES.get(score, score)}",
        legend=bool(curves),
    )
    return figure


def curves_over_seeds(
    curves: Mapping[str, Sequence[Real[np.ndarray, "_"]]], *, score: str = "score"
) -> Figure:
    """Of each method: the median over seeds of the best exact score so far, and their range."""
    figure, (axes,) = style.figure(4.2)
    for index, (method, seeds) in enumerate(curves.items()):
        look = style.SERIES[index % len(style.SERIES)]
        length = min(map(len, seeds))
        rows = np.array([seed[:length] for seed in seeds], float)
        steps, middle = np.arange(1, length + 1), np.median(rows, 0)
        marks = np.unique(np.geomspace(1, length, 8).astype(int)) - 1
        label = f"{METHODS.get(method, method)}: {_score(middle[-1])}"
        axes.plot(
            steps,
            middle,
            label=label,
            linewidth=1.6,
            markersize=4,
            markevery=marks.tolist(),
            **look,
        )
        axes.fill_between(
            steps, rows.min(0), rows.max(0), color=look["color"], alpha=0.12, linewidth=0
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    style.finish(
        axes,
        title="Search: the best so far, median and range over seeds",
        x="networks scored exactly",
        y=f"best {SCORES.get(score, score)}",
        legend=bool(curves),
    )
    return figure


def pareto_sets(found: Mapping[str, Mapping[str, np.ndarray]], *, score: str = "score") -> Figure:
    """Of each method, arrays `scores`, `params`, `macs`: the networks that no other of its own
    beats in score and one cost, as a staircase."""
    figure, panels = style.figure(3.6, columns=2)
    name = SCORES.get(score, score)
    titles = {"params": "parameters", "macs": "MACs for one image"}
    for axes, (cost, title) in zip(panels, titles.items(), strict=True):
        for index, (method, one) in enumerate(found.items()):
            look = style.SERIES[index % len(style.SERIES)]
            kept = pareto_set(objectives(one["scores"], one[cost]))
            order = np.argsort(one[cost][kept], kind="stable")
            x, y = one[cost][kept][order], one["scores"][kept][order]
            axes.plot(
                x,
                y,
                drawstyle="steps-post",
                label=METHODS.get(method, method),
                linewidth=1.3,
                markersize=3.5,
                **look,
            )
        axes.set_xscale("log")
        count_axis(axes.xaxis)
        last = cost == "macs"
        style.finish(axes, title=f"Score and {title}", x=title, y="" if last else name)
    style.legend_below(figure, panels[0], columns=4)
    return figure


def training_curves(
    history: Sequence[Mapping[str, Any]], task: Task, *, chosen: int | None = None
) -> Figure:
    """Training loss and validation metric over steps; `chosen`: the step whose weights are kept.

    A row of the history has a `step` and a `kind`: `train` rows have a `loss`, `eval` rows the
    task's metric on the validation split, under its name.
    """
    figure, (left, right) = style.figure(3.2, columns=2)
    steps, loss = series(history, "train", "loss")
    left.plot(steps, loss, color=style.BLUE, linewidth=1.6)
    style.finish(left, title="Training loss", x="step", y=words.loss(task))
    steps, values = series(history, "eval", task.metric)
    percent = METRICS[task.metric].fraction
    values = 100 * values if percent else values
    few = "o" if len(steps) < 40 else None
    right.plot(steps, values, color=style.GREEN, linewidth=1.6, marker=few, markersize=3.5)
    if chosen is not None and chosen in steps:
        best = values[list(steps).index(chosen)]
        right.plot([chosen], [best], "*", color=style.RED, markersize=13, markeredgecolor="white")
        amount = f"{best:.1f} %" if percent else f"{best:.4g}"
        text, higher = f"kept: step {chosen:,}, {amount}", METRICS[task.metric].higher
        y, side = (0.04, "bottom") if higher else (0.96, "top")  # where the curve is not
        place = {"ha": "right", "va": side, "transform": right.transAxes}
        right.text(0.98, y, text, fontsize=style.SMALL, color=style.INK, **place)
    unit = "%" if percent else words.title(task)
    style.finish(right, title=f"Validation {words.title(task)}", x="step", y=unit)
    return figure
