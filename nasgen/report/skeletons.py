"""The page of the skeleton benchmark: a table of the flat results of `benchmarks.skeletons`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasgen.report.card import table, with_interval
from nasgen.report.markdown import REPORT

PROXIES = {"snip_snr": "SNIP-SNR", "nwot_outputs": "NWOT", "t_cet": "T-CET"}
_HEADER = ("Set-up", "Cells", "Channels", "Pixels", "Images", "Seconds a cell", *PROXIES.values())
_INTRO = """The same random cells of `open`, scored in skeletons of several sizes: Spearman of the
scores with those in the reference, in brackets its bootstrap 95 % interval. The row *itself again*
is the reference with other weights and images, on fewer cells: how much of its order is the draw's.
All others share the reference's seed, so they may agree with it better than that."""


def write_report(
    folder: Path, results: Mapping[str, Any], setups: Mapping[str, Mapping[str, Any]]
) -> Path:
    """Writes `folder/report.md`; setups: fields of `Skeleton` by name, as in the results."""
    reference, cheapest = results["reference"], results["cheapest"]
    rows = []
    if "ceiling/seconds_each" in results:
        rows.append(_row("*itself again*", setups[reference], results, "ceiling"))
    by_cost = sorted(setups, key=lambda name: -results[f"setups/{name}/seconds_each"])
    for name in by_cost:
        bold = f"**{name}**" if name == cheapest else name
        rows.append(_row(bold, setups[name], results, f"setups/{name}"))
    others = "no set-up but the reference itself reaches it."
    verdict = f"Every proxy at {results['threshold']} or more, at the least cost: " + (
        f"**{cheapest}**." if cheapest not in (None, reference) else others
    )
    title = f"# Small skeletons against `{reference}`"
    path = folder / REPORT
    text = "\n\n".join([title, _INTRO, table(_HEADER, rows, right=1), verdict])
    path.write_text(text + "\n", encoding="utf-8")
    return path


def _row(name: str, setup: Mapping[str, Any], results: Mapping[str, Any], start: str) -> tuple:
    channels = "/".join(map(str, setup["channels"]))
    seconds = f"{results[f'{start}/seconds_each']:.2g}"
    figures = [with_interval(results, f"{start}/{p}/spearman", digits=3) for p in PROXIES]
    sizes = (sum(setup["repeats"]), channels, setup["size"], setup["batch"])
    return (name, *sizes, seconds, *figures)
