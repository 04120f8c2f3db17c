"""What a design run is asked for: data, budget and weights, loaded and checked before any work."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import jax
from ml_collections import ConfigDict

from nasgen import data, pretrained
from nasgen.data.task import Dataset
from nasgen.networks import costs
from nasgen.pipeline.config import UserError, nearest
from nasgen.proxies import PROXIES, Proxy
from nasgen.spaces import SPACES, Space
from nasgen.spaces.macro import MAX_STAGES, max_downsamples
from nasgen.types import (
    CHANNEL_STEP,
    Architecture,
    Budget,
    Cell,
    MacroArchitecture,
    Stage,
    Task,
)

if TYPE_CHECKING:
    from nasgen.pretrained.bundle import Bundle


class Request(NamedTuple):
    """Everything that a design run starts from, loaded and checked."""

    dataset: Dataset
    budget: Budget
    bundle: "Bundle"
    space: Space


def load_request(config: ConfigDict) -> Request:
    """Data, budget and weights of a config. Raises UserError where they cannot be used; whatever
    can be said without the learned models is said before they are imported, which takes seconds."""
    singles = sorted(name for name, proxy in PROXIES.items() if isinstance(proxy, Proxy))
    if config.design.fitness not in singles:  # an ensemble's score depends on its pool
        raise UserError(
            f"`config.design.fitness` must be one of {singles}; "
            f"got {config.design.fitness!r}{nearest(config.design.fitness, singles)}"
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
        budget, space = Budget(**config.budget.to_dict()), pretrained.space_of(config.pretrained)
        check_budget(budget, SPACES[space], dataset.task)
        from nasgen.pretrained.bundle import load_bundle

        bundle = load_bundle(config.pretrained)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    return Request(dataset, budget, bundle, SPACES[space])


def check_budget(budget: Budget, space: Space, task: Task) -> None:
    """Raises UserError where a bound lies below what any small network for the task costs."""
    networks = list(smallest_networks(space, task))
    counted = costs.count_many(networks, space.ops, task)
    for name, bound in budget._asdict().items():
        least = int(getattr(counted, name).min())
        if bound is not None and bound < least:
            raise UserError(
                f"`config.budget.{name}` must be at least {least:,}, what the smallest network for "
                f"{task.name} costs; got {bound:,}."
            )


def smallest_networks(space: Space, task: Task) -> Iterator[Architecture]:
    """The narrowest networks there are: for each number of halvings and each op, cells of that op
    alone, beside a skip. One of them costs the least of each kind."""
    cells = [Cell((op,), ((0, 1), (0, 2), (1, 2))) for op in range(len(space.ops))]
    size = -(-min(task.input_shape[:2]) // task.stem_stride)
    for halvings in range(min(max_downsamples(size), MAX_STAGES) + 1):
        strides = (2,) * halvings or (1,)
        stages = tuple(Stage(0, CHANNEL_STEP, stride, 1) for stride in strides)
        for cell in cells:
            macro = MacroArchitecture(stages, CHANNEL_STEP)
            yield Architecture(macro, (cell,) * len(stages))
