"""A network in a run's folder: trained, tested once, timed and exported.

trained.npz  weights of the best validation metric      train/  checkpoints, metrics.jsonl
network/     what runs without nasgen
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key
from ml_collections import ConfigDict

from nasgen.arrays import flatten, unflatten
from nasgen.data.task import Dataset
from nasgen.export import export_network
from nasgen.keys import children, generator
from nasgen.networks.latency import device_name, measure_network
from nasgen.networks.latency_model import Predictor, predict
from nasgen.networks.network import Network, init_network
from nasgen.networks.plan import Plan
from nasgen.pipeline.task_data import recipe_of
from nasgen.pipeline.workdir import save_arrays
from nasgen.report import words
from nasgen.spaces.space import Space
from nasgen.training.progress import announce
from nasgen.training.sharding import default_mesh
from nasgen.training.supervised import Teacher, evaluate, train_network
from nasgen.training.task_metrics import Evaluation, bootstrap_interval
from nasgen.training.units import in_units, units_of
from nasgen.types import Architecture, Task


def train(
    config: ConfigDict,
    dataset: Dataset,
    plan: Plan,
    folder: Path,
    *,
    key: Key[Array, ""],
    teacher: Teacher | None = None,
) -> dict[str, Any]:
    """Trains the network of a plan; validation picks the weights, which predict numbers in the
    units of the targets. teacher: to distil from."""
    keys, units = children(key, "init", "steps"), units_of(dataset)
    found = train_network(
        Network(plan),
        init_network(keys["init"], plan),
        dataset,
        recipe_of(config),
        seed=int(generator(keys["steps"]).integers(2**32)),
        teacher=teacher,
        workdir=folder / "train",
        mesh=default_mesh(),
        label="training the network",
    )
    variables = found.variables
    if units is not None:
        last = next(step for step in reversed(plan.steps) if step.layer.bias)
        variables = in_units(variables, last.name, units)
    save_arrays(folder / "trained.npz", **flatten(variables))
    return {f"validation_{dataset.task.metric}": found.value, "kept_step": found.step}


def hand_over(
    config: ConfigDict,
    dataset: Dataset,
    architecture: Architecture,
    plan: Plan,
    space: Space,
    folder: Path,
    *,
    stages: Mapping[str, Mapping[str, Any]],
    predictor: Predictor | None = None,
    card: Mapping[str, Any],
) -> dict[str, Any]:
    """Reads the test examples, once; times the network; exports it. Returns what was found.

    stages: what finished stages returned, `train` among them. predictor: of latencies, if there is
    one. card: what the model card tells beside all that is known here."""
    with np.load(folder / "trained.npz") as file:
        variables = unflatten(init_network(jax.random.key(0), plan), file)
    apply_fn = partial(Network(plan).apply, train=False)
    task, size = dataset.task, config.train.batch_size
    tested = evaluate(apply_fn, variables, dataset.test, task, batch_size=size)
    validation = f"validation_{task.metric}"
    outcome = {
        **latencies(plan, predictor),
        **_tested(tested, task, seed=config.seed),
        validation: stages["train"][validation],
    }
    form = {"mean": dataset.mean.tolist(), "std": dataset.std.tolist()}
    form |= {"white": dataset.white, "table": dataset.table}
    files = export_network(
        folder / "network",
        plan,
        variables,
        architecture=architecture,
        space=space,
        task=task,
        preprocess=form,
        card={
            "data": about(dataset),
            "hours": {name: stage["seconds"] / 3600 for name, stage in stages.items()},
            "seed": config.seed,
            "training": _settings(config, task),
            **outcome,
            **card,
        },
    )
    announce("export", ", ".join(file.name for file in files))
    return {**outcome, "kept_step": stages["train"]["kept_step"]}


def _tested(tested: Evaluation, task: Task, *, seed: int) -> dict[str, float | int]:
    """`test_METRIC`, the ends of its bootstrap interval as `_low` and `_high`, and the number of
    examples, which is all that the interval of an accuracy needs."""
    name = f"test_{task.metric}"
    found: dict[str, float | int] = {name: tested.value}
    if task.metric != "accuracy":
        ends = bootstrap_interval(task.metric, tested.rows, np.random.default_rng(seed))
        found |= {f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return found | {"test_examples": len(tested.rows)}


def _settings(config: ConfigDict, task: Task) -> dict[str, Any]:
    """How it was trained, by name: what is set and has a meaning for the task."""
    meant = {k: v for k, v in config.train.items() if v is not None}
    if task.kind != "classification":
        del meant["label_smoothing"]
    return meant


def latencies(plan: Plan, predictor: Predictor | None) -> dict[str, Any]:
    """Milliseconds of one example and of 32 at once, measured on this device; and as predicted."""
    found: dict[str, Any] = {"latency_device": device_name()}
    searched = all(step.layer.kind != "excite" for step in plan.steps)
    if predictor is not None and searched:
        found["latency_ms_predicted"] = float(predict(predictor, [plan])[0])
    # Fast networks run for a tenth of a second in any case; slow ones need no more than this.
    found["latency_ms_measured"] = measure_network(plan, repeats=3)
    found["latency_ms_measured_32"] = measure_network(plan, batch=32, repeats=3)
    return found


def about(dataset: Dataset) -> str:
    """Its sizes, and what was done to it, in words."""
    sizes = [len(part.y) for part in (dataset.train, dataset.validation, dataset.test)]
    text = "{:,} {} to train on, {:,} to choose by, {:,} for the test"
    text = text.format(sizes[0], words.examples(dataset.task), *sizes[1:])
    return ". ".join([text, *(note.rstrip(".") for note in dataset.notes)])
