"""A network in a run's folder: trained, tested once, timed and exported.

trained.npz  weights of the best validation accuracy      train/  checkpoints, metrics.jsonl
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
from nasgen.spaces.space import Space
from nasgen.training.classifier import Teacher, evaluate, train_classifier
from nasgen.training.progress import announce
from nasgen.training.recipe import Recipe
from nasgen.training.sharding import default_mesh
from nasgen.types import Architecture


def train(
    config: ConfigDict,
    dataset: Dataset,
    plan: Plan,
    folder: Path,
    *,
    key: Key[Array, ""],
    teacher: Teacher | None = None,
) -> dict[str, Any]:
    """Trains the network of a plan; validation picks the weights. teacher: to distil from."""
    keys, settings = children(key, "init", "steps"), config.train.to_dict()
    del settings["teacher"]
    found = train_classifier(
        Network(plan),
        init_network(keys["init"], plan),
        dataset,
        Recipe(**settings),
        seed=int(generator(keys["steps"]).integers(2**32)),
        teacher=teacher,
        workdir=folder / "train",
        mesh=default_mesh(),
        label="training the network",
    )
    np.savez(folder / "trained.npz", **flatten(found.variables))
    return {"validation_accuracy": found.accuracy, "kept_step": found.step}


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
    tested = evaluate(apply_fn, variables, *dataset.test, batch_size=config.train.batch_size)
    outcome = {
        **latencies(plan, predictor),
        "test_accuracy": tested["accuracy"],
        "test_examples": len(dataset.test.y),
        "validation_accuracy": stages["train"]["validation_accuracy"],
    }
    form = {"mean": dataset.mean.tolist(), "std": dataset.std.tolist(), "white": dataset.white}
    files = export_network(
        folder / "network",
        plan,
        variables,
        architecture=architecture,
        space=space,
        task=dataset.task,
        preprocess=form,
        card={
            "data": about(dataset),
            "hours": {name: stage["seconds"] / 3600 for name, stage in stages.items()},
            "seed": config.seed,
            "training": {k: v for k, v in config.train.items() if v is not None},
            **outcome,
            **card,
        },
    )
    announce("export", ", ".join(file.name for file in files))
    return {**outcome, "kept_step": stages["train"]["kept_step"]}


def latencies(plan: Plan, predictor: Predictor | None) -> dict[str, Any]:
    """Milliseconds of one example and of 32 at once, measured on this device; and as predicted."""
    found: dict[str, Any] = {"latency_device": device_name()}
    if predictor is not None:
        found["latency_ms_predicted"] = float(predict(predictor, [plan])[0])
    # Fast networks run for a tenth of a second in any case; slow ones need no more than this.
    found["latency_ms_measured"] = measure_network(plan, repeats=3)
    found["latency_ms_measured_32"] = measure_network(plan, batch=32, repeats=3)
    return found


def about(dataset: Dataset) -> str:
    """Its sizes, and what was done to it, in words."""
    sizes = [len(part.y) for part in (dataset.train, dataset.validation, dataset.test)]
    words = "{:,} images to train on, {:,} to choose by, {:,} for the test".format(*sizes)
    return ". ".join([words, *(note.rstrip(".") for note in dataset.notes)])
