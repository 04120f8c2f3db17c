"""Trains a network by name, or one exported before, and hands it over.

`config.model` is a name of `nasgen.list_models()` or the path of an architecture.json. Its classes
and image size become those of the task; the stem's stride stays that of the model's own task.
"""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from nasgen import processes, published
from nasgen.data.task import Dataset
from nasgen.keys import children
from nasgen.networks.costs import count
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import trained
from nasgen.pipeline.config import (
    COMMON,
    DESIGN,
    UserError,
    check,
    check_training,
    text,
)
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.task_data import keep_task, load_data
from nasgen.pipeline.teacher import load_teacher
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.report.card import tested
from nasgen.spaces.formats import architecture_from_json
from nasgen.spaces.open import SPACE
from nasgen.training.supervised import Teacher
from nasgen.types import Architecture

RULES = {
    **COMMON,
    **{name: rule for name, rule in DESIGN.items() if name.startswith(("task.", "train."))},
    "model": text(),
}
_EARLIER = "Trained by nasgen, with the architecture of an earlier network."


class Chosen(NamedTuple):
    """What is trained, on what; `origin` says in words whose architecture it is."""

    dataset: Dataset
    architecture: Architecture
    plan: Plan
    origin: str
    teacher: Teacher | None


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Both stages, then results.json. Raises UserError for a config that is off."""
    check(config, RULES)
    check_training(config.train)
    try:
        chosen = choose(config)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    train = partial(_train, config, chosen, workdir.path)
    keep_task(chosen.dataset, workdir.path)
    run_stages(
        workdir,
        [
            Stage("train", ("trained.npz", "train"), train, together=True),
            Stage(
                "deliver",
                ("network", *trained.KEPT),
                partial(_hand_over, config, chosen, workdir.path),
            ),
        ],
    )
    if not processes.is_first():
        return
    stages = {name: read_stage(workdir.path, name) for name in ("train", "deliver")}
    seconds = {f"seconds/{name}": stage["seconds"] for name, stage in stages.items()}
    found = {k: v for k, v in stages["deliver"].items() if not isinstance(v, str)}
    write_results(
        workdir,
        {
            **{k: v for k, v in found.items() if not k.startswith("seconds")},
            **count(chosen.plan)._asdict(),
            **seconds,
            "seconds_total": sum(seconds.values()),
            "seconds_compile": sum(stage["seconds_compile"] for stage in stages.values()),
        },
    )
    network = workdir.path / "network"
    print(f"{tested(stages['deliver'])}\nThe network, to use without nasgen: {network}")


def choose(config: ConfigDict) -> Chosen:
    """The data and the network of a config. Raises ValueError where they cannot be used."""
    named = not config.model.endswith(".json")
    architecture, stem_stride = (_published if named else _exported)(config.model)
    dataset = load_data(config)
    dataset = dataset._replace(task=dataset.task._replace(stem_stride=stem_stride))
    if named:  # refuses images that are too small for it
        shape, classes = dataset.task.input_shape, dataset.task.num_classes
        published.create_model(config.model, num_classes=classes, input_shape=shape)
    if config.train.excitation:
        architecture = architecture._replace(excitation=float(config.train.excitation))
    plan = make_plan(architecture, SPACE.ops, dataset.task)
    path = config.train.teacher
    teacher = path and load_teacher(Path(path), dataset, SPACE)
    origin = published.origin_of(config.model) if named else _EARLIER
    return Chosen(dataset, architecture, plan, origin, teacher)


def _published(name: str) -> tuple[Architecture, int]:
    return published.architecture_of(name), published.task_of(name).stem_stride


def _exported(path: str) -> tuple[Architecture, int]:
    try:
        written = json.loads(Path(path).read_text(encoding="utf-8"))
        return architecture_from_json(written, SPACE), int(written["task"]["stem_stride"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(
            f"`config.model` must be the architecture.json of an export; got {path} ({error})."
        ) from None


def _train(config: ConfigDict, chosen: Chosen, folder: Path):
    key = children(jax.random.key(config.seed), "training")["training"]
    options = dict(key=key, teacher=chosen.teacher)
    return trained.train(config, chosen.dataset, chosen.plan, folder, **options)


def _hand_over(config: ConfigDict, chosen: Chosen, folder: Path):
    return trained.hand_over(
        config,
        chosen.dataset,
        chosen.architecture,
        chosen.plan,
        SPACE,
        folder,
        stages={"train": read_stage(folder, "train")},
        card={"origin": chosen.origin},
    )
