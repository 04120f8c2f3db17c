"""Every method by its name: a table, a key and a number of queries in, the rows that it asks out.

`nasgen` is the generator; `surrogate` is the process that it asks, over the whole space, and begins
as it does, with random networks in place of written ones; `surrogate_best_first` is the same but
begins with the best of the whole space by the zero-cost score; `proxy_NAME` asks in the order of
one score. The others are searches of `nasgen/search`, with the settings that tabular benchmarks are
reported with.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from nasgen.benchmarks.tabular import designer, gaussian_process
from nasgen.benchmarks.tabular.problem import make_problem
from nasgen.benchmarks.tabular.table import Table
from nasgen.benchmarks.tabular.writer import Known
from nasgen.keys import generator
from nasgen.search.loop import search
from nasgen.search.methods import configured

Rows = Int[np.ndarray, " queries"]
Allowed = Bool[np.ndarray, " rows"] | None


class Bound(NamedTuple):
    """A bound on what the table has of a device: milliseconds."""

    device: str
    milliseconds: float


SEARCHES = {
    "random": ("random", {}),
    # population and sample of regularised evolution as NAS-Bench-201 reports it
    "evolution": ("evolution", {"evolution": {"population": 10, "tournament": 3}}),
    "local_search": ("local_search", {"local_search": {"patience": 24}}),
    # a cell has no stages; a twenty-fifth of the population for a hundredth of the queries
    "hl_evo": ("paper", {"paper": {"spaces": 0, "population": 20}}),
}
# costs as the table has them; the others as the regressor reads them off a cell's latent
PROXIES = "params", "macs", "log_snip_snr", "nwot"
BEST_FIRST = "surrogate_best_first"
METHODS = ("nasgen", "surrogate", *SEARCHES, *(f"proxy_{name}" for name in PROXIES), BEST_FIRST)


def ask(
    name: str,
    key: Key[Array, ""],
    table: Table,
    known: Known,
    num: int,
    *,
    settings: designer.Settings,
    bound: Bound | None = None,
) -> Rows:
    """The rows that a method asks, in order, each once; all keep the bound."""
    allowed = None if bound is None else table.latency[bound.device] <= bound.milliseconds
    if name == "nasgen":
        return designer.search(key, table, known, settings, num, allowed=allowed)
    if name in ("surrogate", BEST_FIRST):
        options = dict(best_first=name == BEST_FIRST)
        return _surrogate(key, table, known, settings, num, allowed, **options)
    if name.startswith("proxy_"):
        return _in_order(table, known.proxies[name.removeprefix("proxy_")], allowed)[:num]
    method, groups = SEARCHES[name]
    options = {} if bound is None else dict(device=bound.device, bound=bound.milliseconds)
    problem = make_problem(table, bundle=known.bundle, **options)
    return table.rows(search(key, configured(method, groups), problem, num).architectures)


def _in_order(table: Table, scores: Float[np.ndarray, " rows"], allowed: Allowed) -> Rows:
    """All different networks, the best by these scores first."""
    order = table.networks[np.argsort(-scores[table.networks], kind="stable")]
    return order if allowed is None else order[allowed[order]]


def _surrogate(
    key,
    table: Table,
    known: Known,
    settings: designer.Settings,
    num: int,
    allowed: Allowed,
    *,
    best_first: bool,
) -> Rows:
    """Begins by zero-cost scores: of all rows with the best, or, with a spread as nasgen's, of as
    many random ones as nasgen draws. Then rounds over all rows."""
    everything, first = _in_order(table, known.zero_cost, allowed), min(settings.first, num)
    queried = everything[:first]
    if not best_first:
        size = min(settings.draws, len(everything))
        drawn = generator(key).choice(everything, size, replace=False)
        queried = designer.spread(drawn, known.zero_cost, first)
    while len(queried) < min(num, len(everything)):
        left = np.setdiff1d(everything, queried)
        most = min(settings.batch, num - len(queried))
        seen = table.validation[queried]
        process = gaussian_process.fit(known.features[queried], seen)
        found = gaussian_process.most_promising(process, known.features, seen, left, most)
        queried = np.concatenate([queried, found])
    return queried
