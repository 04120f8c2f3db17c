"""The figures of a tabular benchmark, flat, in the table's own units; means over seeds.

METHOD/DATA SET/test_at/QUERIES/mean, /low, /high, /all: the test figure of what validation picked,
    with the 95 % interval of the mean (Student's t; a method that leaves nothing to chance has
    none, and one value); `validation_at`: of the same network; `regret_at`: the optimum less the
    mean of test. nasgen's `test_at/0` is its first choice, which no training led to.
METHOD/DATA SET/test_after/SECONDS: by charged seconds, at powers of ten and thrice them.
METHOD/seeds_with_best_at_QUERIES: in how many seeds, on every data set, the network of the best
    test figure was picked; `mean_rank_at_QUERIES`: of its mean among the methods', over data sets.
oracle/DATA SET: what the best validation of the whole table picks. optimum/DATA SET: the best.
METHOD/latency/DEVICE/DATA SET/...: under a bound; `inside`: the share of what was asked within it,
    `oracle`: what the best validation within it picks.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict
from scipy.stats import rankdata

from nasgen.benchmarks.tabular.methods import Bound
from nasgen.benchmarks.tabular.table import Table, picked
from nasgen.statistics import interval_of_mean

_TIMES = [base * 10.0**power for power in range(3, 7) for base in (1, 3)]
_BEST = 1e-6  # from the optimum, in the table's units, to count as it


class Asked(NamedTuple):
    """rows: that a method asked, in order, a seed each. seconds: of its own, not the trainings'."""

    rows: list[Int[np.ndarray, " queries"]]
    seconds: list[float]


def collect(
    config: ConfigDict,
    loaded: Mapping[str, Table],
    asked: Mapping[str, Mapping[str, Asked]],
    bounded: Mapping[str, Mapping[Bound, Mapping[str, Asked]]],
) -> dict[str, Any]:
    """All figures; asked and bounded: by data set."""
    results: dict[str, Any] = {"seeds": len(config.seeds)}
    for data_set, table in loaded.items():
        results[f"optimum/{data_set}"] = float(table.test.max())
        results[f"oracle/{data_set}"] = float(table.test[table.validation.argmax()])
        for method, found in asked[data_set].items():
            start = f"{method}/{data_set}"
            results |= _at_marks(start, table, found, config.marks)
            results |= _after_seconds(start, table, found)
            results[f"{start}/seconds_own/mean"] = float(np.mean(found.seconds))
            if method == "nasgen":
                firsts = [float(table.test[rows[0]]) for rows in found.rows]
                results |= _mean(f"{start}/test_at/0", firsts)
        for bound, methods in bounded[data_set].items():
            results |= _bounded(data_set, table, bound, methods, config.bounds.queries)
    return results | _over_data_sets(config, loaded, asked)


def curves(table: Table, asked: Asked) -> dict[str, np.ndarray]:
    """`regret` on test and charged `hours` after each query, `[seeds, queries]`."""
    length = min(map(len, asked.rows))
    rows = [one[:length] for one in asked.rows]
    return {
        "regret": table.test.max() - np.stack([table.test[picked(table, one)] for one in rows]),
        "hours": np.stack([np.cumsum(table.seconds[one]) / 3600 for one in rows]),
    }


def _at_marks(start: str, table: Table, asked: Asked, marks) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for mark in marks:
        if mark > min(map(len, asked.rows)):
            continue
        chosen = np.array([picked(table, rows)[mark - 1] for rows in asked.rows])
        figures |= _mean(f"{start}/test_at/{mark}", table.test[chosen].tolist())
        figures[f"{start}/validation_at/{mark}/mean"] = float(table.validation[chosen].mean())
        figures[f"{start}/regret_at/{mark}/mean"] = float(
            table.test.max() - table.test[chosen].mean()
        )
    return figures


def _after_seconds(start: str, table: Table, asked: Asked) -> dict[str, float]:
    """Where every seed had at least one training done by then, and not all of them."""
    clocks = [np.cumsum(table.seconds[rows]) for rows in asked.rows]
    figures = {}
    for seconds in _TIMES:
        if max(clock[0] for clock in clocks) <= seconds <= min(clock[-1] for clock in clocks):
            done = [np.searchsorted(clock, seconds, side="right") - 1 for clock in clocks]
            tests = [
                table.test[picked(table, rows)[i]] for rows, i in zip(asked.rows, done, strict=True)
            ]
            figures[f"{start}/test_after/{seconds:.0f}/mean"] = float(np.mean(tests))
    return figures


def _bounded(
    data_set: str, table: Table, bound: Bound, methods: Mapping[str, Asked], num: int
) -> dict[str, Any]:
    latency = table.latency[bound.device]
    inside = np.flatnonzero(latency <= bound.milliseconds)
    best = inside[table.validation[inside].argmax()]
    where = f"latency/{bound.device}/{data_set}"
    figures: dict[str, Any] = {
        f"{where}/bound_ms": bound.milliseconds,
        f"{where}/share_of_space": len(inside) / table.num_rows,
        f"{where}/oracle": float(table.test[best]),
    }
    for method, asked in methods.items():
        chosen = np.array([picked(table, rows)[-1] for rows in asked.rows])
        rows = np.concatenate(asked.rows)
        start = f"{method}/{where}"
        figures |= _mean(f"{start}/test_at/{num}", table.test[chosen].tolist())
        figures[f"{start}/inside"] = float((latency[rows] <= bound.milliseconds).mean())
        reached = table.validation[chosen] >= table.validation[best]
        figures[f"{start}/seeds_with_best_at_{num}"] = int(reached.sum())
    return figures


def _over_data_sets(config, loaded, asked) -> dict[str, Any]:
    """Ranks among methods and how often the best was found."""
    figures: dict[str, Any] = {}
    common = [n for n in config.methods if all(n in asked[data_set] for data_set in loaded)]
    for mark in config.marks:
        means, best = {}, {}
        for name in common:
            found = [(table, asked[data_set][name].rows) for data_set, table in loaded.items()]
            if any(mark > min(map(len, rows)) for _, rows in found):
                continue
            chosen = [
                (table, np.array([picked(table, one)[mark - 1] for one in rows]))
                for table, rows in found
            ]
            means[name] = [float(table.test[rows].mean()) for table, rows in chosen]
            reached = [table.test[rows] >= table.test.max() - _BEST for table, rows in chosen]
            best[name] = int(np.logical_and.reduce(reached).sum())
        if means:
            ranks = rankdata(-np.array(list(means.values())), axis=0).mean(1)
            for name, rank in zip(means, ranks, strict=True):
                figures[f"{name}/mean_rank_at_{mark}"] = float(rank)
                figures[f"{name}/seeds_with_best_at_{mark}"] = best[name]
    return figures


def _mean(name: str, values: list[float]) -> dict[str, Any]:
    figures: dict[str, Any] = {f"{name}/mean": float(np.mean(values)), f"{name}/all": values}
    if len(values) > 1:
        low, high = interval_of_mean(np.array(values))
        figures |= {f"{name}/low": low, f"{name}/high": high}
    return figures
