"""nasgen against the networks that the paper's authors found: same T-CET, images and weights.

Budgets are the authors' own: at most 1.0 M params and their largest MACs on CIFAR's shape with 100
classes; their largest params and MACs at 224 px with 1,000. `SET/best_score` is the best T-CET of
nasgen after at most `evaluations` exact scores, `SET/authors_best_score` the best of their ten;
`SET/evaluations_to_beat_authors` is null where it never does. A seed draws images and weights, for
both sides; medians over seeds, `/all` lists them. The best of many by one draw has luck in it, so
both winners are scored again, on images and weights that neither was chosen by: `SET/again/...`.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen import pretrained, published
from nasgen.benchmarks.search import first_at_least, note_median
from nasgen.keys import children
from nasgen.pipeline.config import COMMON, METHODS, UserError, check, some_of, text, whole, wholes
from nasgen.pipeline.examples import examples_of
from nasgen.pipeline.kept_search import found_scores, found_to_json, kept_search
from nasgen.pipeline.problems import make_problem
from nasgen.pipeline.stages import Stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_json, write_results
from nasgen.pretrained.bundle import Bundle, load_bundle
from nasgen.search.methods import configured
from nasgen.search.problem import Problem
from nasgen.spaces import SPACES
from nasgen.spaces.formats import architecture_from_json
from nasgen.types import Architecture, Budget, Task

OPEN = SPACES["open"]
_AGAIN = 1_000  # folded into a seed's key, beyond all its keys: other images and weights
BEST = {"cifar": "hgen_cifar_1m", "imagenet450m": "hgen_imagenet_450m"}  # of each set
PARAMS = {"cifar": 1_000_000}  # the budget that the paper names; elsewhere the authors' largest
RULES = {
    **COMMON,
    **METHODS,
    "methods.generate.proposals": whole(1, 1_000_000),
    "pretrained": text(),
    "sets": some_of(BEST),
    "seeds": wholes(0, 2**31),
    "evaluations": whole(1, 100_000),
    "authors": whole(1, 1_000),
    **{f"batch.{name}": whole(2, 4096) for name in BEST},
}


class Side(NamedTuple):
    """A set of the authors' networks, the budget that they keep, and their task."""

    networks: list[Architecture]
    budget: Budget
    task: Task


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Scores both sides and writes results.json. Raises UserError for a config that is off."""
    check(config, RULES)
    sides = {name: authors(name, config.authors) for name in config.sets}
    try:
        pretrained.find(config.pretrained, "macro")
        bundle = load_bundle(config.pretrained)
    except ValueError as error:
        raise UserError(str(error)) from None
    found: dict[str, list[dict[str, Any]]] = {}
    for name, side in sides.items():
        for seed in config.seeds:
            keys = children(jax.random.key(seed), "problem", "batch", "search")
            problem = _problem(config, bundle, name, side, keys)
            theirs, ours, again = (f"{n}_{name}_{seed}" for n in ("authors", "nasgen", "again"))
            anew = children(jax.random.fold_in(jax.random.key(seed), _AGAIN), "problem", "batch")
            fresh = partial(_problem, config, bundle, name, side, anew)
            works = {
                theirs: partial(_score, workdir, theirs, side, problem),
                ours: partial(_search, config, workdir, ours, keys["search"], problem),
                again: partial(_score_again, workdir, again, side, theirs, ours, fresh),
            }
            for stage, work in works.items():
                run_stages(workdir, [Stage(stage, (f"{stage}.json",), work)])
            three = [json.loads((workdir.path / f"{n}.json").read_text()) for n in works]
            found.setdefault(name, []).append(compare(*three))
    write_results(workdir, collect(config, sides, found))


def authors(name: str, num: int) -> Side:
    """The first `num` of the authors' networks of this set."""
    models = [published.create_model(one) for one in published.list_models(f"{BEST[name]}*")]
    macs, params = (max(getattr(one, cost) for one in models) for cost in ("macs", "params"))
    networks = [one.architecture for one in models[:num]]
    return Side(networks, Budget(params=PARAMS.get(name, params), macs=macs), models[0].task)


def _problem(config: ConfigDict, bundle: Bundle, name: str, side: Side, keys) -> Problem:
    batch = examples_of(keys["batch"], side.task, config.batch[name])
    return make_problem(keys["problem"], bundle, side.task, side.budget, batch, fitness="t_cet")


def _score(workdir: Workdir, stage: str, side: Side, problem: Problem) -> None:
    counted = problem.count(side.networks)
    scores = problem.combine(problem.measure(side.networks))
    row = {"scores": scores, "params": counted.params, "macs": counted.macs}
    write_json(workdir.path / f"{stage}.json", row)


def _search(config: ConfigDict, workdir: Workdir, stage: str, key, problem: Problem) -> None:
    method = configured("generate", config.methods.to_dict())
    state = kept_search(workdir, stage, key, method, problem, config.evaluations, space=OPEN)
    write_json(workdir.path / f"{stage}.json", found_to_json(state, problem, OPEN))


def _score_again(
    workdir: Workdir, stage: str, side: Side, theirs: str, ours: str, fresh: Callable[[], Problem]
) -> None:
    """Both stages' winners, by another problem."""
    first, second = (json.loads((workdir.path / f"{n}.json").read_text()) for n in (theirs, ours))
    best = second["architectures"][int(found_scores(second).argmax())]
    pair = [side.networks[int(found_scores(first).argmax())], architecture_from_json(best, OPEN)]
    problem = fresh()
    scores = problem.combine(problem.measure(pair))
    write_json(workdir.path / f"{stage}.json", {"scores": scores})


def compare(theirs: dict[str, Any], ours: dict[str, Any], again: dict[str, Any]) -> dict[str, Any]:
    """Figures of one seed: of the best network of each side."""
    mark, own = found_scores(theirs), found_scores(ours)
    best, curve = int(own.argmax()), np.maximum.accumulate(own)
    return {
        "best_score": own[best],
        "again/best_score": found_scores(again)[1],
        "again/authors_best_score": found_scores(again)[0],
        "authors_best_score": mark.max(),
        "evaluations_to_beat_authors": first_at_least(curve, np.nextafter(mark.max(), np.inf)),
        "evaluations": len(own),
        "best_params": ours["params"][best],
        "best_macs": ours["macs"][best],
        "authors_best_params": theirs["params"][int(mark.argmax())],
        "authors_best_macs": theirs["macs"][int(mark.argmax())],
        "seconds": ours["seconds"],
    }


def collect(config: ConfigDict, sides, found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians over seeds, by set."""
    results: dict[str, Any] = {"seeds": list(config.seeds)}
    for name, rows in found.items():
        for figure in rows[0]:
            note_median(results, f"{name}/{figure}", [float(row[figure]) for row in rows])
        results |= {
            f"{name}/budget_{n}": getattr(sides[name].budget, n) for n in ("params", "macs")
        }
        results[f"{name}/batch"] = config.batch[name]
    return results
