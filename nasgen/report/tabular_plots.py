"""Pictures of tabular benchmarks: how far from the best, over queries and over charged hours."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from nasgen.report import style
from nasgen.report.tabular import title

_POINTS = 60  # of a curve over hours


def regret(name: str, methods: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Mean regret of every method but single proxies; methods: as in `tabular.write_report`. Over
    queries alone where all of them are charged alike."""
    shown = {method: one for method, one in methods.items() if not method.startswith("proxy_")}
    timed = any(not _charged_alike(one["hours"]) for one in shown.values())
    figure, panels = style.figure(4.2, columns=1 + timed)
    for index, (method, one) in enumerate(shown.items()):
        look = style.SERIES[index % len(style.SERIES)] | {"markersize": 3.5, "linewidth": 1.5}
        curve = one["regret"].mean(0)
        steps = np.arange(1, len(curve) + 1)
        marks = (np.unique(np.geomspace(1, len(curve), 7).astype(int)) - 1).tolist()
        panels[0].plot(steps, curve, label=title(method), markevery=marks, **look)
        if timed:
            hours, over = _over_hours(one["regret"], one["hours"])
            panels[1].plot(hours, over, markevery=_POINTS // 6, **look)
    for axes in panels:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    style.finish(panels[0], title=f"{name}: regret on test", x="queries", y="mean regret")
    if timed:
        style.finish(panels[1], title="the same over training", x="charged hours", y="mean regret")
    style.legend_below(figure, panels[0], columns=3)
    return figure


def _charged_alike(hours: Float[np.ndarray, "seeds queries"]) -> bool:
    each = np.diff(hours, axis=1, prepend=0)
    return bool(np.allclose(each, each[0, 0]))


def _over_hours(
    regrets: Float[np.ndarray, "seeds queries"], hours: Float[np.ndarray, "seeds queries"]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean regret at times from when every seed has a network to when the first has all."""
    start, stop = hours[:, 0].max(), hours[:, -1].min()
    times = np.geomspace(start, max(stop, start * 1.001), _POINTS)
    found = [
        own[np.searchsorted(clock, times, side="right") - 1]
        for own, clock in zip(regrets, hours, strict=True)
    ]
    return times, np.mean(found, 0)
