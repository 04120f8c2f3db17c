"""The data of a config's task, loaded and compared with the batches that the config asks for.

task.json   the task, and what its data are in words
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import jax
from ml_collections import ConfigDict

from nasgen import data
from nasgen.data.task import Dataset
from nasgen.pipeline.config import task_options
from nasgen.pipeline.workdir import TASK, write_json
from nasgen.report import words
from nasgen.training.progress import announce
from nasgen.types import Task

if TYPE_CHECKING:
    from nasgen.training.recipe import Recipe


def load_data(config: ConfigDict) -> Dataset:
    """The data set; what was done to it is said. Raises ValueError where it cannot be used, for
    batches that it or the devices cannot fill, and for a training that is not for such a task."""
    size, devices = config.train.batch_size, jax.device_count()
    if size % devices:
        raise ValueError(
            f"`config.train.batch_size` must be a multiple of the {devices} devices; got {size}."
        )
    dataset = data.load(config.task.name, seed=config.seed, **task_options(config))
    for note in dataset.notes:
        announce("data", note)
    sizes = {"train.batch_size": size}
    if "design" in config:
        sizes["design.score_batch"] = config.design.score_batch
    examples = len(dataset.train.y)
    for name, size in sizes.items():
        if size > examples:
            raise ValueError(
                f"`config.{name}` must be at most the {examples} training examples; got {size}."
            )
    from nasgen.training import task_metrics  # they take a second to import
    from nasgen.training.supervised import check_trainable

    task = dataset.task
    check_trainable(recipe_of(config), task, teacher=config.train.teacher is not None)
    if not task_metrics.is_defined(task, dataset.validation.y):
        raise ValueError(
            f"`metric` of {task.name} must be defined on the validation examples, which choose the "
            f"weights; {task.metric} is not, whatever is predicted: choose another "
            "`config.task.metric`, or other validation examples."
        )
    return dataset


def recipe_of(config: ConfigDict) -> "Recipe":
    """The recipe that a config asks for."""
    from nasgen.training.recipe import Recipe

    settings = config.train.to_dict()
    del settings["teacher"], settings["excitation"]
    return Recipe(**settings)


def keep_task(dataset: Dataset, folder: Path) -> None:
    """Writes the task, and what its data are in words, for whoever looks at the run."""
    write_json(folder / TASK, {**dataset.task._asdict(), "data": about(dataset)})


def read_task(folder: Path) -> tuple[Task, str]:
    """The task of a run and what its data are in words. Raises OSError where it is not kept."""
    kept = json.loads((folder / TASK).read_text())
    data = kept.pop("data")
    pairs = {name: tuple(kept[name]) for name in ("input_shape", "class_names")}
    return Task(**{**kept, **pairs}), data


def about(dataset: Dataset) -> str:
    """Its sizes, and what was done to it, in words."""
    sizes = [len(part.y) for part in (dataset.train, dataset.validation, dataset.test)]
    text = "{:,} {} to train on, {:,} to choose by, {:,} for the test"
    text = text.format(sizes[0], words.examples(dataset.task), *sizes[1:])
    return ". ".join([text, *(note.rstrip(".") for note in dataset.notes)])
