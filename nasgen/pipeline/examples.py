"""The examples that networks are scored on: a task's own, or natural ones where it has none."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from ml_collections import ConfigDict

from nasgen.data.natural import natural_batch
from nasgen.data.task import Dataset, Split
from nasgen.keys import generator
from nasgen.training.units import standardised, units_of
from nasgen.types import Task


def examples_of(key: Key[Array, ""], source: Dataset | Task, num: int) -> Split:
    """`num` random training examples with their targets as a training learns them, numbers
    standardised; natural images or series where there is a task without data.

    Raises ValueError where there are fewer examples."""
    if isinstance(source, Task):
        return Split(*natural_batch(key, num, source))
    examples = len(source.train.y)
    if not 2 <= num <= examples:
        raise ValueError(f"`batch` must be in 2..{examples}, the training examples; got {num}.")
    rows = generator(key).choice(examples, num, replace=False)
    y = standardised(jnp.asarray(source.train.y[rows]), units_of(source))
    return Split(np.asarray(source.train.x[rows], np.float32), np.asarray(y))


def made_up_task(config: ConfigDict, name: str) -> Task:
    """The task without examples that the keys of `config.MADE_UP` tell."""
    size = config.task.size
    return Task(name, (size, size, config.task.channels), config.task.classes)
