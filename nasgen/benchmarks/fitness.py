"""Which fitness orders networks of equal cost by what they train to: on bands of cost and on a data
set that the predictor has not seen, beside every proxy, depth and costs.

Spearman correlations are taken within groups of one task, cost band and number of steps, and
averaged over groups; intervals are of bootstrap samples of the networks. The predictor is fitted
anew for each held-out part: `held_out_band` leaves out one band of every task at a time,
`held_out_data` one task. What a search led to below its band is in no group, and left out with the
nearest band of its task.

`rounds/TASK/STEPS/ORIGIN_SEED/mean`, `/best`, `/num`: what those networks of each origin and round
of the table (rounds have seeds of their own) train to that lie in the costliest band.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from nasgen.benchmarks import contest, fitness_proof
from nasgen.models.accuracy import PREDICTED_ACCURACY
from nasgen.pipeline.accuracy_fit import (
    FITS,
    OUTSIDE,
    Rows,
    groups,
    held_out,
    measured_steps,
    read_rows,
    read_table,
)
from nasgen.pipeline.config import COMMON, check, one_of, text, whole
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.report.fitness import write_report
from nasgen.statistics import bootstrap_weights, interval, spearman

RULES = {
    **COMMON,
    "table": text(),
    "fit": one_of(FITS),
    "bootstrap": whole(2, 1_000_000),
    **fitness_proof.RULES,
}
_BY_STEPS = ("grad_norm", "t_cet", "depth")  # beside the predictor
Scores = Mapping[str, np.ndarray]  # of each fitness, a value for every row


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Writes results.json and report.md. Raises UserError for a config that is off and for a table
    that is not there."""
    check(config, RULES)
    frame = read_table(config.table)
    if config.proof.num_seeds:
        contest.check_settings(config.proof, "config.proof")
        proof = fitness_proof.load_task(config.proof), contest.load(config.proof)
    rows, rng = read_rows(frame), np.random.default_rng(config.seed)
    results: dict[str, Any] = {"num_networks": len(np.unique(rows.network))}
    held = {"held_out_band": nearest_bands(rows), "held_out_data": rows.task}
    expected: dict[str, np.ndarray] = {}
    for name, part in held.items():
        scores = {PREDICTED_ACCURACY: held_out(rows, part, FITS[config.fit])}
        others = {n: held_out(rows, part, fit) for n, fit in FITS.items() if n != config.fit}
        scores |= {f"{PREDICTED_ACCURACY}_{n}": values for n, values in others.items()}
        found = within_groups(rows, {**scores, **rows.columns}, rng, config.bootstrap)
        results |= {f"{name}/{key}": value for key, value in found.items()}
        expected[name] = scores[PREDICTED_ACCURACY]
    shown = {n: rows.columns[n] for n in _BY_STEPS}
    results |= by_group(rows, {PREDICTED_ACCURACY: expected["held_out_band"], **shown})
    results |= noise(frame) | rounds(frame)
    if config.proof.num_seeds:
        results |= fitness_proof.prove(config.proof, workdir, *proof)
    write_report(workdir.path, results)
    write_results(workdir, results)


def nearest_bands(rows: Rows) -> Int[np.ndarray, " rows"]:
    """The band of each row; of those in none the one of their task that is nearest by the mean
    logarithms of params and MACs. Where a task has no band they stay one of their own."""
    costs, bands = np.log([rows.columns["params"], rows.columns["macs"]]).T, rows.band.copy()
    for task in np.unique(rows.task):
        mine, outside = rows.task == task, (rows.task == task) & (rows.band == OUTSIDE)
        known = np.unique(rows.band[mine & ~outside])
        if not len(known):
            continue
        means = np.array([costs[mine & (rows.band == band)].mean(0) for band in known])
        distances = np.linalg.norm(costs[outside][:, None] - means[None], axis=-1)
        bands[outside] = known[distances.argmin(1)]
    return bands


def within_groups(
    rows: Rows, scores: Scores, rng: np.random.Generator, num_samples: int
) -> dict[str, float]:
    """`FITNESS/spearman`, `_low` and `_high`: means over groups. A bootstrap sample draws networks,
    which are then drawn for every number of steps."""
    parts, networks = groups(rows), len(np.unique(rows.network))
    drawn = np.zeros((num_samples, networks))
    place = {number: i for i, number in enumerate(np.unique(rows.network))}
    own = np.array([place[number] for number in rows.network])
    for task, band in dict.fromkeys(key[:2] for key in parts):  # in order: they are drawn for
        members = np.unique(own[(rows.task == task) & (rows.band == band)])
        drawn[:, members] = bootstrap_weights(rng, num_samples, len(members))
    figures = {}
    for name, values in scores.items():
        finite = [one[np.isfinite(values[one])] for one in parts.values()]
        finite = [one for one in finite if len(one) >= 8]
        if not finite:
            continue
        each = [spearman(values[one], rows.accuracy[one]) for one in finite]
        samples = [spearman(values[one], rows.accuracy[one], drawn[:, own[one]]) for one in finite]
        low, high = interval(np.nanmean(samples, 0))
        figures |= {
            f"{name}/spearman": float(np.nanmean(each)),
            f"{name}/spearman_low": low,
            f"{name}/spearman_high": high,
        }
    return figures


def by_group(rows: Rows, scores: Scores) -> dict[str, float]:
    """`by_steps/TASK/STEPS/NAME/spearman`: means over bands with three networks or more, for how
    much training a sign holds; `by_steps/TASK/STEPS/num_networks`: how many in all these bands."""
    found: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    for (task, _, steps), one in groups(rows, 3).items():
        start = f"by_steps/{task}/{steps}"
        counts[f"{start}/num_networks"] = counts.get(f"{start}/num_networks", 0) + len(one)
        for name, values in scores.items():
            value = float(spearman(values[one], rows.accuracy[one]))
            found.setdefault(f"{start}/{name}/spearman", []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()} | counts


def noise(frame) -> dict[str, float]:
    """Of networks trained twice: the deviation that a seed makes, the spread of networks within
    bands, and the Spearman that even a perfect fitness is kept below, about the root of the share
    of the variance that is not noise. Each at the last number of steps of the brief recipe."""
    figures = {}
    for task, mine in frame.groupby("task"):
        brief = mine[~mine["long"]]
        last = f"accuracy_{measured_steps(brief.dropna(axis='columns', how='all'))[-1]}"
        pairs = brief.groupby("architecture")[last]
        twice = [one.to_numpy()[:2] for _, one in pairs if len(one) > 1]
        if not twice:
            continue
        gap = np.diff(np.array(twice), axis=1)[:, 0]
        variance = float(np.mean(gap**2) / 2)
        first = brief[brief["band"] != OUTSIDE].drop_duplicates("architecture")
        within = float(first.groupby("band")[last].var().mean())
        figures |= {
            f"noise/{task}/seed_deviation": variance**0.5,
            f"noise/{task}/band_deviation": within**0.5,
            f"noise/{task}/ceiling": max(1 - variance / within, 0.0) ** 0.5,
            f"noise/{task}/num_twice": len(twice),
        }
    return figures


def rounds(frame) -> dict[str, float]:
    """What the networks of each round train to, see above. Diverged ones are left out."""
    once = frame.drop_duplicates(["task", "architecture"])
    once = once[once["band"] == once.groupby("task")["band"].transform("max")]
    figures = {}
    for (task, origin, seed), mine in once.groupby(["task", "origin", "seed"]):
        for steps in measured_steps(mine):
            values = mine[f"accuracy_{steps}"][mine[f"accuracy_{steps}"] > 0]
            if len(values):
                start = f"rounds/{task}/{steps}/{origin}_{seed}"
                figures[f"{start}/mean"] = float(values.mean())
                figures[f"{start}/best"] = float(values.max())
                figures[f"{start}/num"] = len(values)
    return figures
