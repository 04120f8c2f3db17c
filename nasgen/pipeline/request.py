"""What a design run is asked for: data, budget and weights, loaded and checked before any work."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ml_collections import ConfigDict

from nasgen import pretrained
from nasgen.data.task import Dataset
from nasgen.models.accuracy import PREDICTED_ACCURACY
from nasgen.networks import costs
from nasgen.networks.latency_model import Predictor, predict
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import latency
from nasgen.pipeline.config import UserError, nearest
from nasgen.pipeline.task_data import load_data
from nasgen.proxies import PROXIES
from nasgen.spaces import SPACES, Space
from nasgen.spaces.macro import MAX_STAGES, max_downsamples
from nasgen.training.progress import announce
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
    from nasgen.training.supervised import Teacher


class Request(NamedTuple):
    """Everything that a design run starts from, loaded and checked."""

    dataset: Dataset
    budget: Budget
    bundle: "Bundle"
    space: Space
    latency: Predictor | None = None  # where the budget bounds it
    teacher: "Teacher | None" = None  # where the training distils from one


def load_request(config: ConfigDict) -> Request:
    """Data, budget and weights of a config. Raises UserError where they cannot be used; whatever
    can be said without the learned models is said before they are imported, which takes seconds."""
    names = sorted([*PROXIES, PREDICTED_ACCURACY])
    if config.design.fitness not in names:
        raise UserError(
            f"`config.design.fitness` must be one of {names}; "
            f"got {config.design.fitness!r}{nearest(config.design.fitness, names)}"
        )
    try:
        dataset = load_data(config)
        _say_what_is_foretold(config, dataset.task)
        budget = Budget(**config.budget.to_dict())
        pretrained.find(config.pretrained, "macro")  # a generator of cells alone will not do
        space = pretrained.space_of(config.pretrained, "cells")
        check_budget(budget, SPACES[space], dataset.task)
        predictor = _predictor(config, budget)
        if predictor:
            check_latency(budget, predictor, SPACES[space], dataset.task)
        from nasgen.pipeline.fitness import needed
        from nasgen.pipeline.teacher import load_teacher
        from nasgen.pretrained.bundle import load_bundle

        bundle = load_bundle(config.pretrained)
        if config.design.fitness == PREDICTED_ACCURACY:
            needed(bundle.accuracy)
        path = config.train.teacher
        teacher = path and load_teacher(Path(path), dataset, SPACES[space])
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    return Request(dataset, budget, bundle, SPACES[space], predictor, teacher)


def _say_what_is_foretold(config: ConfigDict, task: Task) -> None:
    if config.design.fitness == PREDICTED_ACCURACY and (
        task.is_series or task.kind != "classification"
    ):
        words = f"for {task.name} a guess: it was fitted on images in classes"
        announce("fitness", f"{PREDICTED_ACCURACY} is {words}")


def _predictor(config: ConfigDict, budget: Budget) -> Predictor | None:
    """This device's predictor of latencies, where the budget needs one; measured if it is new."""
    if budget.latency_ms is None:
        return None
    path = config.design.latency_table
    return latency.kept(None if path is None else Path(path)).predictor


def check_budget(budget: Budget, space: Space, task: Task) -> None:
    """Raises UserError where a bound lies below what any small network for the task costs."""
    networks = list(smallest_networks(space, task, pools_of(space)))
    counted = costs.count_many(networks, space.ops, task)
    for name, bound in budget.counted.items():
        least = int(getattr(counted, name).min())
        if bound is not None and bound < least:
            raise UserError(
                f"`config.budget.{name}` must be at least {least:,}, what the smallest network for "
                f"{task.name} costs; got {bound:,}."
            )


def check_latency(budget: Budget, predictor: Predictor, space: Space, task: Task) -> None:
    """Raises UserError where `latency_ms` lies below the prediction for any small network."""
    plans = [make_plan(one, space.ops, task) for one in smallest_networks(space, task)]
    least = float(predict(predictor, plans).min())
    if budget.latency_ms < least:
        raise UserError(
            f"`config.budget.latency_ms` must be at least {_rounded_up(least):g}, what the fastest "
            f"small network for {task.name} is predicted to take on {predictor.device}; "
            f"got {budget.latency_ms:g}."
        )


def _rounded_up(value: float) -> float:
    """The least number of three decimal digits that is not below `value`."""
    digits = 2 - math.floor(math.log10(value))
    return math.ceil(value * 10**digits) / 10**digits


def smallest_networks(
    space: Space, task: Task, ops: Sequence[int] | None = None
) -> Iterator[Architecture]:
    """The narrowest networks there are: for each number of halvings and each op, cells of that op
    alone, beside a skip. One of them costs the least of each kind; of what is counted, one whose
    cells are pools, which have no weights.

    ops: of these alone, numbers in the space, as `pools_of`, a ninth of all."""
    ops = range(len(space.ops)) if ops is None else ops
    cells = [Cell((op,), ((0, 1), (0, 2), (1, 2))) for op in ops]
    size = -(-task.size // task.stem_stride)
    for halvings in range(min(max_downsamples(size), MAX_STAGES) + 1):
        strides = (2,) * halvings or (1,)
        stages = tuple(Stage(0, CHANNEL_STEP, stride, 1) for stride in strides)
        macro = MacroArchitecture(stages, CHANNEL_STEP)
        for cell in cells:
            yield Architecture(macro, (cell,) * len(stages))


def pools_of(space: Space) -> list[int]:
    """The numbers of the ops that are pools."""
    return [i for i, op in enumerate(space.ops) if op.kind == "avg_pool"]
