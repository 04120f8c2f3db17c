"""The page of the budget benchmark: its figures, and by region what share of requests fails.

What it reads are the flat results of `benchmarks.budget` and the requests themselves: `size`
`[requests]`, `limits` and `least` `[requests, 3]`, `used`, `can` `[requests]`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nasgen.report import pictures
from nasgen.report.card import table
from nasgen.report.markdown import REPORT
from nasgen.report.pictures import FIGURES

PICTURE = f"{FIGURES}/regions.png"
MEASURES = {
    "over_budget": "Networks over budget",
    "recounted": "Counted again on their plans",
    "recounted_over_budget": "Over budget then",
    "share_using_90_percent": "Using at least 90 % of the tightest bound",
    "share_met": "Requests met",
    "uniqueness": "Different networks",
    "architectures_per_second": "Networks a second",
    "compilations_while_timed": "Compilations while timed",
    "impossible": "Requests that nothing can meet",
}
NAMES = ("params", "MACs", "memory")
SIZES = (12, 24, 48, 96, 128)  # where bands of image sizes end
ROOM = (1.5, 3.0, 10.0, 100.0)  # the bound over the least that it could be
ENOUGH = 0.9


def write_report(
    folder: Path,
    results: Mapping[str, Any],
    requests: Mapping[str, np.ndarray],
    *,
    figures: bool = True,
) -> Path:
    """Writes `folder/report.md` and (where there is matplotlib) the map."""
    drawn = figures and pictures.can_draw()
    if drawn:
        _draw(folder, requests)
    rows = []
    for name, title in MEASURES.items():
        low, high = results.get(f"{name}/interval", (None, None))
        interval = "" if low is None else f"{low:.4g} to {high:.4g}"
        rows.append((title, f"{results[name]:.6g}", interval))
    rows += [
        (f"of these, because of {name.split('/')[1]}", f"{value}", "")
        for name, value in results.items()
        if name.startswith("impossible/") and name.count("/") == 1 and name != "impossible/all"
    ]
    parts = [
        "# Budgets met",
        f"{len(results['seeds'])} seeds of {results['requests']:,} requests; medians over seeds, "
        "counts summed; 95 % intervals of the mean.",
        table(("", "Figure", "Interval"), rows, right=1),
    ]
    parts += [f"![Shares of requests that fail, by region.]({PICTURE})"] if drawn else []
    path = folder / REPORT
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def regions(requests: Mapping[str, np.ndarray]) -> Float[np.ndarray, "sizes regions"]:
    """Of the requests that can be met the share that fails to use `ENOUGH`, by size of image and by
    how much room the tightest bound leaves; columns are bounds times rooms. nan: no request."""
    ratios = requests["limits"] / requests["least"]
    tightest, room = ratios.argmin(1), np.digitize(ratios.min(1), ROOM)
    band = np.digitize(requests["size"], SIZES)
    column = tightest * (len(ROOM) + 1) + room
    shares = np.full((len(SIZES) + 1, len(NAMES) * (len(ROOM) + 1)), np.nan)
    for row, place in np.ndindex(*shares.shape):
        chosen = requests["can"] & (band == row) & (column == place)
        if chosen.any():
            shares[row, place] = (requests["used"][chosen] < ENOUGH).mean()
    return shares


def _draw(folder: Path, requests: Mapping[str, np.ndarray]) -> None:
    from nasgen.report.heat_map import heat_map

    edges = [f"{edge:g}" for edge in (1, *ROOM)]
    rooms = [f"{a}-{b}" for a, b in zip(edges, edges[1:], strict=False)] + [f"> {edges[-1]}"]
    ends = (8, *SIZES)
    sizes = [f"{a}-{b - 1} px" for a, b in zip(ends, ends[1:], strict=False)] + [f"{ends[-1]}+ px"]
    figure = heat_map(
        regions(requests),
        sizes,
        [(f"tightest: {name}", room) for name in NAMES for room in rooms],
        title="Requests that miss 90 % of their tightest bound, by that bound over the least cost",
        label="share of the requests that can be met",
        low=0,
    )
    pictures.save(folder, {"regions": figure})
