"""The metric space: cells on the two main axes of their latents."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nasgen.report.card import short
from nasgen.report.page.elements import STAR, Chart, amount, axis, grid, height_axis, legend
from nasgen.report.page.run import Run

RANDOM, WINNER_CELL = -1, -2  # as in the file
_HALO = {"color": "var(--ink)", "textBorderColor": "var(--paper)", "textBorderWidth": 3}
_LEAST = 6  # cells of a cluster that is named on the map
_TITLES = {
    "log_params": "parameters",
    "log_macs": "MACs",
    "log_snip_snr": "log SNIP-SNR",
    "nwot": "NWOT",
}


def cell_map(run: Run) -> Chart | None:
    """Random cells coloured by a condition or with their clusters named, and the run's own."""
    kept = run.cell_map
    if kept is None:
        return None
    names, places = [str(name) for name in kept["names"]], kept["places"]
    networks, stages = kept["networks"], kept["stages"]
    shares = kept["shares"].tolist()

    def point(index: int, title: str) -> dict[str, Any]:
        conditions = kept["conditions"][index].tolist()
        cluster = int(kept["clusters"][index])
        said = [f"{_title(n)}: {_value(n, v)}" for n, v in zip(names, conditions, strict=True)]
        words = run.clusters.get(cluster)
        named = f"cluster {cluster}: {words}" if words else f"cluster {cluster}"
        value = [*places[index], *conditions]
        return {"value": [round(float(v), 3) for v in value], "tip": [title, named, *said]}

    random = [point(i, "a random cell") for i in np.flatnonzero(networks == RANDOM).tolist()]
    ours = next(iter(run.methods), "nasgen")
    scored = [
        point(i, f"network {networks[i] + 1}, stage {stages[i] + 1}")
        | {"net": f"{ours}-{networks[i]}"}
        for i in np.flatnonzero(networks >= 0).tolist()
    ]
    chosen = [
        point(i, f"the network delivered, stage {stages[i] + 1}")
        | {"net": "winner", "label": _label(f"stage {stages[i] + 1}"), **STAR}
        for i in np.flatnonzero(networks == WINNER_CELL).tolist()
    ]
    choices = {
        f"coloured by {_title(name)}": {"visualMap": _colours(kept["conditions"][:, i], name, i)}
        for i, name in enumerate(names)
    }
    dots = {"type": "scatter", "symbolSize": 5}
    option = {
        "legend": legend(data=["random cells", "cells of what was scored", "cells delivered"]),
        "grid": grid(left=44, right=74),
        "tooltip": {"trigger": "item", "tips": True},
        "xAxis": axis(f"first axis{_share(shares[0])}", gap=28, scale=True),
        "yAxis": height_axis(f"second axis{_share(shares[1])}", scale=True),
        "visualMap": next(iter(choices.values()))["visualMap"],
        "series": [
            {**dots, "name": "random cells", "data": random, "itemStyle": {"opacity": 0.75}},
            {
                **dots,
                "name": "cells of what was scored",
                "data": scored,
                "symbolSize": 7,
                "itemStyle": {
                    "color": "transparent",
                    "borderColor": "var(--ink)",
                    "borderWidth": 1.5,
                },
            },
            {
                "type": "scatter",
                "name": "clusters",
                "data": _names(run),
                "symbolSize": 14,
                "itemStyle": {"color": "transparent"},
                "labelLayout": {"hideOverlap": True},
            },
            {
                "type": "scatter",
                "name": "cells delivered",
                "data": chosen,
                "symbol": "diamond",
                "itemStyle": {"color": "var(--star)"},
                "z": 5,
            },
        ],
    }
    caption = (
        f"Cells on the two main axes of their latents, which have {100 * sum(shares):.0f} % of the "
        "variance. Numbers name clusters, the words of the macro language; point at one for what "
        "its cells are like."
    )
    return Chart("metric-space", caption, option, height=460, choices=choices)


def _share(share: float) -> str:
    return f" of the latents ({100 * share:.0f} % of the variance)"


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))


def _value(name: str, value: float) -> str:
    return short(np.exp(value)) if name in ("log_params", "log_macs") else amount(float(value))


def _colours(values: np.ndarray, name: str, number: int) -> dict[str, Any]:
    low, high = (float(v) for v in np.quantile(values, [0.02, 0.98]))
    return {
        "min": round(low, 4),
        "max": round(high, 4),
        "dimension": 2 + number,
        "seriesIndex": 0,
        "right": 0,
        "top": "middle",
        "itemHeight": 180,
        "text": [_value(name, high), _value(name, low)],
        "textStyle": {"color": "var(--ink)"},
        "inRange": {"color": [f"var(--scale-{step})" for step in range(5)]},
    }


def _label(text: str) -> dict[str, Any]:
    return {"show": True, "formatter": text, "position": "right", "fontWeight": "bold", **_HALO}


def _names(run: Run) -> list[Mapping[str, Any]]:
    """The clusters at the middle of their random cells."""
    kept, found = run.cell_map, []
    for cluster in np.unique(kept["clusters"]).tolist():
        own = (kept["clusters"] == cluster) & (kept["networks"] == RANDOM)
        if own.sum() < _LEAST:
            continue
        middle = np.median(kept["places"][own], 0)
        text = {"show": True, "formatter": str(cluster), "fontWeight": "bold"}
        words = [f"cluster {cluster}", run.clusters.get(cluster, "")]
        place = [round(float(v), 3) for v in middle]
        found.append({"value": place, "label": {**text, **_HALO}, "tip": [w for w in words if w]})
    return found
