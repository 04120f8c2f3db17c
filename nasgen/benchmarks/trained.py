"""Methods and networks by hand, judged by real training under one budget, see `contest`.

METHOD/test_accuracy/mean, /low, /high, /all: with the 95 % interval of the mean (Student's t) over
    seeds of the search, each the mean of its trainings; over trainings, of a network by hand.
nasgen/over/METHOD/mean, /low, /high: by how much nasgen's networks are better, seed by seed.
METHOD/curve/STEPS/mean: after fewer steps. METHOD/params, /macs: medians. METHOD/num_diverged.
by_steps/STEPS/FITNESS/spearman, _low, _high: of a fitness with accuracy after so many steps, over
    the networks that use `least_used` of a bound or more, all of them scored with the same weights'
    key on the same examples; num_networks: how many these are. Intervals are of bootstrap samples
    of networks. `predicted_accuracy` foretells these steps.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen import data
from nasgen.benchmarks import contest
from nasgen.benchmarks.contest import BY_HAND, ENTRANTS, OPEN, Found
from nasgen.data.task import Dataset
from nasgen.keys import children
from nasgen.models.accuracy import PREDICTED_ACCURACY
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.config import (
    COMMON,
    METHODS,
    REQUEST,
    UserError,
    boolean,
    check,
    number,
    some_of,
    task_options,
    whole,
)
from nasgen.pipeline.examples import examples_of
from nasgen.pipeline.fitness import accuracies_by_scores
from nasgen.pipeline.fitness_training import CHEAP
from nasgen.pipeline.request import check_budget
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.pretrained.bundle import Bundle
from nasgen.proxies import PROXIES
from nasgen.proxies.engine import score
from nasgen.published import handmade
from nasgen.report.trained import write_report
from nasgen.statistics import bootstrap_weights, interval_of_mean, spearman, with_interval
from nasgen.types import Budget

OURS = "nasgen"
_UNSEEN = 1_000  # folded into the key, beyond all keys of the searches: other images, weights
RULES = {
    **COMMON,
    **REQUEST,
    **METHODS,
    **contest.rules(),
    "num_seeds": whole(1, 1000),
    "entrants": some_of(ENTRANTS),
    "by_hand": some_of(BY_HAND),
    "least_used": number(0, 1, closed=True),
    "bootstrap": whole(2, 1_000_000),
    "plots": boolean(),
}


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Searches and trains, then writes results.json, report.md and a picture. Raises UserError for
    a config that is off."""
    check(config, RULES)
    if not config.entrants:
        raise UserError(f"`config.entrants` must name at least one of {', '.join(ENTRANTS)}.")
    contest.check_settings(config)
    budget = Budget(**config.budget.to_dict())
    try:
        handmade.check_bounds(budget)
        dataset = data.load(config.task.name, seed=config.seed, **task_options(config))
        check_budget(budget, OPEN, dataset.task)
    except ValueError as error:
        raise UserError(str(error)) from None
    if dataset.task.metric != "accuracy":
        raise UserError(
            f"`config.task` must be judged by accuracy; {dataset.task.name} is by "
            f"{dataset.task.metric}."
        )
    bundle = contest.load(config)
    networks = contest.hold(
        *(config, workdir, dataset, budget, bundle),
        entrants=config.entrants,
        families=config.by_hand,
        groups=config.methods.to_dict(),
    )
    results = collect(config, networks)
    results |= _by_steps(config, dataset, budget, bundle, networks)
    write_report(workdir.path, results, config.steps, plots=config.plots)
    write_results(workdir, results)


def collect(config: ConfigDict, networks: Sequence[Found]) -> dict[str, Any]:
    """All figures of accuracies, flat."""
    results: dict[str, Any] = {"num_networks": len(networks), "steps": config.steps[-1]}
    last: dict[str, np.ndarray] = {}
    for name in (*config.entrants, *config.by_hand):
        mine = [one for one in networks if one.name == name]
        values = np.array([one.accuracies for one in mine])  # seeds, trainings, evaluations
        last[name] = values[..., -1]
        each = last[name].reshape(-1) if name in config.by_hand else last[name].mean(1)
        results |= _mean(f"{name}/test_accuracy", each)
        results[f"{name}/test_accuracy/all"] = last[name].tolist()
        for steps, column in zip(config.steps, np.moveaxis(values, -1, 0), strict=True):
            results[f"{name}/curve/{steps}/mean"] = float(column.mean())
        if name in config.entrants:
            results[f"{name}/fitness"] = [one.fitness for one in mine]
        results[f"{name}/params"] = float(np.median([one.costs.params for one in mine]))
        results[f"{name}/macs"] = float(np.median([one.costs.macs for one in mine]))
        results[f"{name}/num_diverged"] = sum(one.num_diverged for one in mine)
        results[f"{name}/core_hours"] = sum(one.cpu_seconds for one in mine) / 3600
    for name, values in last.items():
        if OURS in last and name != OURS:
            results |= _mean(f"{OURS}/over/{name}", (last[OURS] - values).mean(1))
    return results


def _mean(name: str, values: np.ndarray) -> dict[str, float]:
    figures = {f"{name}/mean": float(values.mean())}
    if len(values) > 1:
        low, high = interval_of_mean(values)
        figures |= {f"{name}/low": low, f"{name}/high": high}
    return figures


def _by_steps(
    config: ConfigDict, dataset: Dataset, budget: Budget, bundle: Bundle, networks: Sequence[Found]
) -> dict[str, Any]:
    """Which fitness orders the networks of this budget, each of them once, by scores of images and
    weights that no search had. A fitness that is not finite for one of them is left out."""
    once = _distinct(networks)
    used = [
        max(getattr(one.costs, name) / bound for name, bound in budget.counted.items() if bound)
        for one in once
    ]
    once = [one for one, share in zip(once, used, strict=True) if share >= config.least_used]
    if len(once) < 4:
        return {}
    plans = [make_plan(one.architecture, OPEN.ops, dataset.task) for one in once]
    keys = children(jax.random.fold_in(jax.random.key(config.seed), _UNSEEN), "weights", "batch")
    batch = examples_of(keys["batch"], dataset, config.score_batch)
    rng = np.random.default_rng(config.seed)
    weights = bootstrap_weights(rng, config.bootstrap, len(once))
    proxies = {name: PROXIES[name] for name in CHEAP}  # those that are predicted from among them
    columns = score(plans, proxies, keys["weights"], *batch).values
    asked = bundle.accuracy.scored, plans, columns, config.score_batch
    predicted = accuracies_by_scores(*asked, config.steps)
    for name in ("params", "macs", "depth"):
        columns[name] = np.array([getattr(one.costs, name) for one in once])
    figures: dict[str, Any] = {}
    for place, steps in enumerate(config.steps):
        accuracy = np.array([one.accuracies[:, place].mean() for one in once])
        fitnesses = {PREDICTED_ACCURACY: predicted[:, place], **columns}
        figures[f"by_steps/{steps}/num_networks"] = len(once)
        for name, values in fitnesses.items():
            if np.isfinite(values).all():
                found = with_interval(spearman, values, accuracy, weights)
                start = f"by_steps/{steps}/{name}/spearman"
                figures |= {f"{start}{end}": value for end, value in found.items()}
    return figures


def _distinct(networks: Sequence[Found]) -> list[Found]:
    """Of equal architectures the first."""
    first: dict[Any, Found] = {}
    for one in networks:
        first.setdefault(one.architecture, one)
    return list(first.values())
