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
from jaxtyping import Float, Int
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


class Found(NamedTuple):
    """picked: by validation after each query; hours: charged until then, `[seeds, queries]`."""

    picked: Int[np.ndarray, "seeds queries"]
    hours: Float[np.ndarray, "seeds queries"]


def found(table: Table, asked: Asked) -> Found:
    """As many queries as every seed has."""
    length = min(map(len, asked.rows))
    rows = np.stack([one[:length] for one in asked.rows])
    return Found(
        np.stack([picked(table, one) for one in rows]), table.seconds[rows].cumsum(1) / 3600
    )


def collect(
    config: ConfigDict,
    loaded: Mapping[str, Table],
    asked: Mapping[str, Mapping[str, Asked]],
    bounded: Mapping[str, Mapping[Bound, Mapping[str, Asked]]],
) -> dict[str, Any]:
    """All figures; asked and bounded: by data set."""
    results: dict[str, Any] = {"seeds": len(config.seeds)}
    all_found: dict[str, dict[str, Found]] = {}
    for data_set, table in loaded.items():
        results[f"optimum/{data_set}"] = float(table.test.max())
        results[f"oracle/{data_set}"] = float(table.test[table.validation.argmax()])
        all_found[data_set] = {name: found(table, one) for name, one in asked[data_set].items()}
        for method, one in all_found[data_set].items():
            start = f"{method}/{data_set}"
            results |= _at_marks(start, table, one, config.marks)
            results |= _after_seconds(start, table, one)
            own = asked[data_set][method].seconds
            results[f"{start}/seconds_own/mean"] = float(np.mean(own))
            if method == "nasgen":
                results |= _mean(f"{start}/test_at/0", table.test[one.picked[:, 0]].tolist())
        for bound, methods in bounded[data_set].items():
            results |= _bounded(data_set, table, bound, methods, config.bounds.queries)
    return results | _over_data_sets(config, loaded, all_found)


def curves(table: Table, asked: Asked) -> dict[str, np.ndarray]:
    """`regret` on test and charged `hours` after each query, `[seeds, queries]`."""
    one = found(table, asked)
    return {"regret": table.test.max() - table.test[one.picked], "hours": one.hours}


def _at_marks(start: str, table: Table, one: Found, marks) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for mark in (mark for mark in marks if mark <= one.picked.shape[1]):
        chosen = one.picked[:, mark - 1]
        test = table.test[chosen]
        figures |= _mean(f"{start}/test_at/{mark}", test.tolist())
        figures[f"{start}/validation_at/{mark}/mean"] = float(table.validation[chosen].mean())
        figures[f"{start}/regret_at/{mark}/mean"] = float(table.test.max() - test.mean())
    return figures


def _after_seconds(start: str, table: Table, one: Found) -> dict[str, float]:
    """Where every seed had at least one training done by then, and not all of them."""
    figures, clocks = {}, 3600 * one.hours
    for seconds in _TIMES:
        if clocks[:, 0].max() <= seconds <= clocks[:, -1].min():
            done = (clocks <= seconds).sum(1) - 1
            tests = table.test[one.picked[np.arange(len(done)), done]]
            figures[f"{start}/test_after/{seconds:.0f}/mean"] = float(tests.mean())
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
        chosen = found(table, asked).picked[:, -1]
        rows = np.concatenate(asked.rows)
        start = f"{method}/{where}"
        figures |= _mean(f"{start}/test_at/{num}", table.test[chosen].tolist())
        figures[f"{start}/inside"] = float((latency[rows] <= bound.milliseconds).mean())
        reached = table.validation[chosen] >= table.validation[best]
        figures[f"{start}/seeds_with_best_at_{num}"] = int(reached.sum())
    return figures


def _over_data_sets(config, loaded, all_found) -> dict[str, Any]:
    """Ranks among methods and how often the best was found."""
    figures: dict[str, Any] = {}
    for mark in config.marks:
        tests = {
            name: [
                table.test[all_found[data_set][name].picked[:, mark - 1]]
                for data_set, table in loaded.items()
            ]
            for name in config.methods
            if all(
                name in methods and mark <= methods[name].picked.shape[1]
                for methods in all_found.values()
            )
        }
        if not tests:
            continue
        means = [[test.mean() for test in one] for one in tests.values()]
        ranks = rankdata(-np.array(means), axis=0).mean(1)
        for (name, one), rank in zip(tests.items(), ranks, strict=True):
            best = [
                test >= table.test.max() - _BEST
                for test, table in zip(one, loaded.values(), strict=True)
            ]
            figures[f"{name}/mean_rank_at_{mark}"] = float(rank)
            figures[f"{name}/seeds_with_best_at_{mark}"] = int(np.logical_and.reduce(best).sum())
    return figures


def _mean(name: str, values: list[float]) -> dict[str, Any]:
    figures: dict[str, Any] = {f"{name}/mean": float(np.mean(values)), f"{name}/all": values}
    if len(values) > 1:
        low, high = interval_of_mean(np.array(values))
        figures |= {f"{name}/low": low, f"{name}/high": high}
    return figures
