"""The finalists of a design run, trained briefly on the task's own training images and judged on
its validation images by successive halving; who is best in the last round is trained in full.

A fitness is a forecast. Where it errs, everything that it praises errs alike, as the best of a
search are edits of each other: so no two of its finalists cost the same, and beside them stands one
network that is drawn at random and fitted to the budget.

    finalists.json    the networks; rounds: steps, who trained, the validation metric; the winner
    finalists.jsonl   the validation metric of every training, as soon as it is done (see `journal`)
"""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, Key
from ml_collections import ConfigDict

from nasgen import processes
from nasgen.data.task import Dataset
from nasgen.keys import children, generator
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.networks.programs import PROGRAMS
from nasgen.pipeline import journal
from nasgen.pipeline.kept_search import found_scores
from nasgen.pipeline.workdir import write_json
from nasgen.report import words
from nasgen.search.draws import draw_within
from nasgen.search.halving import successive_halving
from nasgen.search.problem import BudgetError, Problem, within
from nasgen.spaces import Space
from nasgen.spaces.formats import architecture_from_json, architecture_to_json
from nasgen.training.brief import BriefRecipe, signatures, train_briefly
from nasgen.training.progress import announce, duration
from nasgen.training.units import units_of
from nasgen.types import METRICS, Architecture

FILE, JOURNAL = "finalists.json", "finalists.jsonl"
# of the winner's
_RECIPE = ("batch_size", "learning_rate", "weight_decay", "clip_norm", "max_shift", "flip")


def train_finalists(
    config: ConfigDict,
    dataset: Dataset,
    problem: Problem,
    space: Space,
    folder: Path,
    *,
    key: Key[Array, ""],
) -> dict[str, Any]:
    """Chooses, trains and halves the finalists of the search in `folder`. Interrupted, it goes on
    with the next training."""
    keys = children(key, "draw", "training")
    found = json.loads((folder / "search.json").read_text())
    networks = choose(keys["draw"], found, problem, space, config.design.finalists)
    architectures = [architecture_from_json(one["architecture"], space) for one in networks]
    plans = [make_plan(one, space.ops, dataset.task) for one in architectures]
    index = {one: number for number, one in enumerate(architectures)}
    rounds = []
    names = [json.dumps(one["architecture"], sort_keys=True) for one in networks]
    who = hashlib.sha256(json.dumps(names).encode()).hexdigest()
    known = {
        (one["steps"], one["network"]): one["value"]
        for one in journal.read(folder / JOURNAL)
        if one["finalists"] == who
    }
    seed = int(generator(keys["training"]).integers(2**32))
    sign = 1 if METRICS[dataset.task.metric].higher else -1

    def train(some: list[Architecture], steps: int) -> np.ndarray:
        numbers = [index[one] for one in some]
        rounds.append({"steps": steps, "networks": numbers, "values": []})

        def value_of(number: int) -> float:
            if (steps, number) in known:
                return known[steps, number]
            return _train(config, dataset, plans[number], number, steps, seed)

        each = processes.count()  # processes train one each, and tell the others
        for start in range(0, len(numbers), each):
            mine = numbers[start + processes.index() : start + each][:1]
            told = processes.gathered([value_of(number) for number in mine])
            told = [value for values in told for value in values]
            for number, value in zip(numbers[start:], told, strict=False):
                if (steps, number) not in known:
                    row = {"steps": steps, "network": number, "value": value}
                    journal.append(folder / JOURNAL, {"finalists": who, **row})
            rounds[-1]["values"] += told
        return sign * np.array(rounds[-1]["values"])

    halved = successive_halving(architectures, train, steps=config.design.finalist_steps)
    winner = halved.order[0]
    write_json(folder / FILE, {"networks": networks, "rounds": rounds, "winner": winner})
    return {"num_finalists": len(networks), "winner_fitness_rank": networks[winner]["rank"]}


def choose(
    key: Key[Array, ""], found: Mapping[str, Any], problem: Problem, space: Space, num: int
) -> list[dict[str, Any]]:
    """The `num` networks of best fitness among what a search found, no two of the same params and
    MACs; then one drawn at random, and its widths fitted to the budget, where one can be drawn.

    rank: by fitness among all that was scored, from 1; None with `fitness` and `scored`, its place
    in `found`, of the one that was drawn."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    scores = found_scores(found)
    for rank, place in enumerate(np.argsort(-scores, kind="stable").tolist(), 1):
        if len(rows) < num:
            costs = {name: found[name][place] for name in ("params", "macs")}
            row = {"architecture": found["architectures"][place], "rank": rank, "scored": place}
            rows.setdefault(tuple(costs.values()), {**row, "fitness": scores[place], **costs})
    chosen = [architecture_from_json(one["architecture"], space) for one in rows.values()]
    try:
        drawn = draw_within(key, problem, 1, seen={problem.identity(one) for one in chosen})
    except BudgetError as error:
        announce("finalists", f"none drawn at random: {error}")
        return list(rows.values())
    fitted = problem.generators.fit(drawn)
    if within(problem, fitted, problem.count(fitted)).all():  # a bound on latency is not fitted to
        drawn = fitted
    costs = problem.count(drawn)
    row = {"architecture": architecture_to_json(drawn[0], space), "rank": None, "scored": None}
    row |= {"fitness": None, "params": int(costs.params[0]), "macs": int(costs.macs[0])}
    return [*rows.values(), row]


def _train(
    config: ConfigDict, dataset: Dataset, plan: Plan, number: int, steps: int, seed: int
) -> float:
    """The validation metric after so many steps; NaN where training diverges."""
    started, task = time.perf_counter(), dataset.task
    recipe = BriefRecipe(steps=(steps,), **{name: config.train[name] for name in _RECIPE})
    PROGRAMS.compile(signatures(plan, min(recipe.batch_size, len(dataset.train.y))))
    parts = dataset.train, dataset.validation
    found = train_briefly(plan, task, *parts, recipe, seed=seed, units=units_of(dataset))
    value = float(found.values[-1])
    reached = f"validation {words.title(task)} {words.amount(value, task)}"
    said = "does not train" if np.isnan(value) else reached
    took = duration(time.perf_counter() - started)
    announce(f"finalist {number + 1}", f"{said} after {steps} steps, {took}")
    return value


def read_finalists(folder: Path) -> dict[str, Any] | None:
    """What the file holds, None where the run has no finalists."""
    file = folder / FILE
    return json.loads(file.read_text()) if file.exists() else None
