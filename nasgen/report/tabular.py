"""The page of a tabular benchmark: test figures after so many queries, a table a data set; regret
over queries and over charged seconds as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasgen.report import pictures
from nasgen.report.card import mean_with_interval, table
from nasgen.report.markdown import REPORT
from nasgen.report.pictures import FIGURES

TITLES = {
    "nasgen": "nasgen",
    "surrogate": "surrogate, whole space",
    "surrogate_best_first": "the same, best by zero-cost score first",
    "random": "random search",
    "evolution": "regularised evolution",
    "local_search": "local search",
    "hl_evo": "HL-Evo (the paper's), adapted",
    "proxy_params": "most parameters first",
    "proxy_macs": "most MACs first",
    "proxy_log_snip_snr": "SNIP-SNR, as the regressor reads it",
    "proxy_nwot": "NWOT, as the regressor reads it",
}
_INTRO = """Means over {seeds} seeds, with the 95 % interval of the mean; test figures of the
network that validation picked, in the benchmark's units. A query shows the {sees}. Seconds:
{timing}."""
_PROXIES = """Single proxies have a row each: none is chosen by what it found. Parameters and MACs
are the benchmark's, or counted where it has none."""
_READ = """{names} are read off a cell's latent by the generator's regressor, which has seen cells
of the space with this project's own scores, no accuracy; here they are computed for no network."""
_PUBLISHED = """Scores by others are at hand for {published:,} of {networks:,} networks alone, so
none of them is a method here."""


def write_report(
    folder: Path,
    name: str,
    results: Mapping[str, Any],
    curves: Mapping[str, Mapping[str, Any]],
    *,
    sees: str,
    timing: str,
    read: Sequence[str],
    published: int,
    networks: int,
    figures: bool = True,
) -> Path:
    """Writes `folder/report.md` and (where there is matplotlib) the pictures. results: flat, of
    `benchmarks.tabular.figures`. curves: by data set and method, each with arrays `regret` and
    `hours`, `[seeds, queries]`. sees, timing: what a query shows and is charged, in words. read:
    proxies that the regressor reads. published: of how many networks there are others' scores."""
    drawn = figures and pictures.can_draw()
    if drawn:
        from nasgen.report import tabular_plots

        pictures.save(
            folder,
            {
                f"regret_{data_set}": tabular_plots.regret(f"{name}, {data_set}", methods)
                for data_set, methods in curves.items()
            },
        )
    parts = [f"# {name}", _INTRO.format(seeds=results["seeds"], sees=sees, timing=timing)]
    parts.append(_proxies(read, published, networks))
    for data_set, methods in curves.items():
        parts += [f"## {data_set}", _tests(results, data_set, list(methods))]
        if drawn:
            picture = f"{FIGURES}/regret_{data_set}.png"
            parts.append(f"![Regret on test.]({picture})")
    bounds = _bounds(results)
    parts += ["## Under a bound on latency", bounds] if bounds else []
    path = folder / REPORT
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _proxies(read: Sequence[str], published: int, networks: int) -> str:
    words = [_PROXIES]
    if read:
        words.append(_READ.format(names=" and ".join(f"`{name}`" for name in read)))
    words.append(_PUBLISHED.format(published=published, networks=networks))
    return "\n".join(words)


def title(method: str) -> str:
    """What readers call a method."""
    return TITLES.get(method, "by " + method.removeprefix("proxy_"))


def _tests(results: Mapping[str, Any], data_set: str, methods: list[str]) -> str:
    starts = [f"{method}/{data_set}/test_at/" for method in methods]
    marks = sorted(
        {
            int(name.split("/")[3])
            for name in results
            if name.startswith(tuple(starts)) and name.endswith("/mean")
        }
    )
    rows = [
        (title(method), *(mean_with_interval(results, f"{start}{mark}") for mark in marks))
        for method, start in zip(methods, starts, strict=True)
    ]
    ends = (
        ("best by validation of all", f"{results[f'oracle/{data_set}']:.2f}"),
        ("best of all", f"{results[f'optimum/{data_set}']:.2f}"),
    )
    rows += [(*end, *[""] * (len(marks) - 1)) for end in ends]
    return table(("Method", *(f"after {mark:,}" for mark in marks)), rows, right=1)


def _bounds(results: Mapping[str, Any]) -> str:
    wheres = [n.removesuffix("/bound_ms") for n in results if n.endswith("/bound_ms")]
    rows = []
    for where in wheres:
        _, device, data_set = where.split("/")
        methods = [n.split("/")[0] for n in results if n.endswith(f"{where}/inside")]
        for method in methods:
            start = f"{method}/{where}"
            marks = [n for n in results if n.startswith(f"{start}/seeds_with_best_at_")]
            num = marks[0].rpartition("_")[2]
            rows.append(
                (
                    f"{device}, {results[f'{where}/bound_ms']:.2f} ms",
                    data_set,
                    title(method),
                    mean_with_interval(results, f"{start}/test_at/{num}"),
                    f"{results[f'{where}/oracle']:.2f}",
                    f"{results[marks[0]]} of {len(results[f'{start}/test_at/{num}/all'])}",
                    f"{100 * results[f'{start}/inside']:.0f} %",
                )
            )
    if not rows:
        return ""
    num = next(n for n in results if "/seeds_with_best_at_" in n and "/latency/" in n)
    header = (
        "Bound",
        "Data set",
        "Method",
        f"test after {num.rpartition('_')[2]}",
        "best by validation within",
        "found in",
        "asked within",
    )
    return table(header, rows, right=3)
