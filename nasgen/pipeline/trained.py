"""A network in a run's folder: trained, tested once, timed and exported.

trained.npz       weights of the best validation metric
train/            checkpoints, metrics.jsonl, tensorboard
network/          what runs without nasgen
predictions.npz   see `predictions`
layer_times.json  names of the layers, and the milliseconds of each, see `layer_times`
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key
from ml_collections import ConfigDict

from nasgen import processes
from nasgen.arrays import flatten, unflatten
from nasgen.data.task import Dataset
from nasgen.export import export_network
from nasgen.keys import children, generator
from nasgen.networks.latency import device_name, measure_network
from nasgen.networks.latency_model import Predictor, predict
from nasgen.networks.layer_times import can_time, layer_times
from nasgen.networks.network import Network, init_network
from nasgen.networks.plan import Plan
from nasgen.pipeline import predictions
from nasgen.pipeline.config import flat
from nasgen.pipeline.task_data import about, recipe_of
from nasgen.pipeline.workdir import save_arrays, write_json
from nasgen.spaces.space import Space
from nasgen.training.progress import announce
from nasgen.training.sharding import default_mesh
from nasgen.training.supervised import Teacher, evaluate, train_network
from nasgen.training.task_metrics import Evaluation, bootstrap_interval
from nasgen.training.units import in_units, units_of
from nasgen.training.wandb_log import wandb_log
from nasgen.types import Architecture, Task

TIMES = "layer_times.json"
KEPT = (predictions.FILE, TIMES)  # of what `hand_over` writes beside the network
_TIMED = 32  # examples at once in the times of layers: as many as scores take by default


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
    with _elsewhere(config, folder) as on_metrics:
        found = train_network(
            Network(plan),
            init_network(keys["init"], plan),
            dataset,
            recipe_of(config),
            seed=int(generator(keys["steps"]).integers(2**32)),
            teacher=teacher,
            workdir=folder / "train",
            mesh=default_mesh(),
            on_metrics=on_metrics,
            label="training the network",
        )
    variables = found.variables
    if units is not None:
        last = next(step for step in reversed(plan.steps) if step.layer.bias)
        variables = in_units(variables, last.name, units)
    save_arrays(folder / "trained.npz", **flatten(variables))
    return {f"validation_{dataset.task.metric}": found.value, "kept_step": found.step}


def _elsewhere(config: ConfigDict, folder: Path) -> AbstractContextManager:
    """Gives what else takes the rows of the training, None for nobody."""
    settings = flat(config.to_dict())
    if settings.get("report.wandb") and processes.is_first():
        return wandb_log(folder, name=folder.name, settings=settings)
    return nullcontext()


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
    wanted, logits, seen = predictions.spread(len(dataset.test.y), task), [], 0

    def note(batch: Array) -> None:
        nonlocal seen
        rows = wanted[(wanted >= seen) & (wanted < seen + len(batch))] - seen
        logits.append(np.asarray(batch)[rows])
        seen += len(batch)

    tested = evaluate(apply_fn, variables, dataset.test, task, batch_size=size, on_logits=note)
    predictions.keep_predictions(np.concatenate(logits), wanted, dataset, folder)
    _time_layers(plan, folder)
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


def _time_layers(plan: Plan, folder: Path) -> None:
    """Writes what each layer takes, of none where some have no programs."""
    timed = can_time(plan)
    ms = layer_times(plan, batch=_TIMED).tolist() if timed else []
    names = [step.name for step in plan.steps] if timed else []
    found = {"device": device_name(), "batch": _TIMED, "names": names, "ms": ms}
    write_json(folder / TIMES, found)


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
