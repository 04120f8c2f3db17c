"""What a design run is asked for: data, budget and weights, loaded and checked before any work."""

from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen import data, pretrained
from nasgen.data.task import Dataset
from nasgen.models.macro_rules import CostBounds, cheapest
from nasgen.networks import costs
from nasgen.pipeline.config import UserError, nearest
from nasgen.pretrained import Bundle
from nasgen.proxies import PROXIES
from nasgen.spaces import SPACES, Space
from nasgen.types import Budget, Task


class Request(NamedTuple):
    """Everything that a design run starts from, loaded and checked."""

    dataset: Dataset
    budget: Budget
    bundle: Bundle
    space: Space


def load_request(config: ConfigDict) -> Request:
    """Data, budget and weights of a config, the quick checks first. Raises UserError where they
    cannot be used."""
    if config.design.fitness not in PROXIES:
        raise UserError(
            f"`config.design.fitness` must be one of {sorted(PROXIES)}; "
            f"got {config.design.fitness!r}{nearest(config.design.fitness, PROXIES)}"
        )
    if config.train.batch_size % jax.device_count():
        raise UserError(
            f"`config.train.batch_size` must be a multiple of the {jax.device_count()} devices; "
            f"got {config.train.batch_size}."
        )
    try:
        options = {} if config.task.path is None else {"path": config.task.path}
        dataset = data.load(config.task.name, seed=config.seed, **options)
        if len(dataset.train.y) < config.design.score_batch:
            raise UserError(
                f"`config.design.score_batch` must be at most the {len(dataset.train.y)} training "
                f"examples; got {config.design.score_batch}."
            )
        budget = Budget(**config.budget.to_dict())
        check_budget(budget, dataset.task)
        bundle = pretrained.load_bundle(config.pretrained)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    return Request(dataset, budget, bundle, SPACES[bundle.space])


def check_budget(budget: Budget, task: Task) -> None:
    """Raises UserError where a bound lies below what the task's smallest network costs."""
    least = np.asarray(cheapest(CostBounds(*costs.bounds(task)), *task.input_shape[:2]))
    for (name, bound), smallest in zip(budget._asdict().items(), least, strict=True):
        if bound is not None and bound < smallest:
            raise UserError(
                f"`config.budget.{name}` must be at least {int(np.ceil(smallest)):,}, what the "
                f"smallest network for {task.name} costs; got {bound:,}."
            )
