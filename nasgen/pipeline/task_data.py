"""The data of a config's task, loaded and compared with the batches that the config asks for."""

import jax
from ml_collections import ConfigDict

from nasgen import data
from nasgen.data.task import Dataset
from nasgen.pipeline.config import task_options
from nasgen.training.progress import announce


def load_data(config: ConfigDict) -> Dataset:
    """The data set; what was done to it is said. Raises ValueError where it cannot be used, and
    for batches that it or the devices cannot fill."""
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
    return dataset
