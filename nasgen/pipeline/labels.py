"""Conditions of cells: each is measured in a small network that is the same for all of a space.

The paper measures `open` cells in a skeleton of 17; `benchmarks/skeletons` says which smaller ones
order cells alike. A tabular space has a network of its own, here narrower and with fewer cells. The
condition is (log params, log MACs, log SNIP-SNR, NWOT).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Key

from nasgen.data.natural import natural_batch
from nasgen.keys import children
from nasgen.networks.costs import count, count_many
from nasgen.networks.plan import Plan
from nasgen.networks.plans import PLANS
from nasgen.networks.plans.open import make_plan
from nasgen.proxies import PROXIES
from nasgen.proxies.engine import score
from nasgen.spaces import Space
from nasgen.types import Architecture, Cell, MacroArchitecture, Stage, Task

CONDITIONS = ("log_params", "log_macs", "log_snip_snr", "nwot")
NUM_COSTS = 2  # of them, the first: exact, and known of every cell


class Skeleton(NamedTuple):
    """The network that cells are measured in. size, batch: of its square RGB images.

    channels, strides, repeats: of every stage; the first of its cells carries the stride. A tabular
    space takes the channels of its first group, and the repeats as the cells of every group.
    """

    channels: tuple[int, ...] = (8, 16, 32)
    strides: tuple[int, ...] = (1, 2, 2)
    final_width: int = 64
    size: int = 16
    batch: int = 16
    num_classes: int = 10
    repeats: tuple[int, ...] = ()


def in_skeleton(cell: Cell, skeleton: Skeleton) -> Architecture:
    """The skeleton with this `open` cell in every stage."""
    repeats = skeleton.repeats or (1,) * len(skeleton.channels)
    rows = zip(skeleton.channels, skeleton.strides, repeats, strict=True)
    stages = tuple(Stage(0, *row) for row in rows)
    macro = MacroArchitecture(stages, skeleton.final_width)
    return Architecture(macro, (cell,) * len(stages))


def skeleton_task(skeleton: Skeleton) -> Task:
    """The made-up task of the skeleton."""
    return Task("skeleton", (skeleton.size, skeleton.size, 3), skeleton.num_classes)


def skeleton_plans(cells: Sequence[Cell], space: Space, skeleton: Skeleton) -> list[Plan]:
    """The networks that these cells are measured in."""
    task = skeleton_task(skeleton)
    if space.name == "open":
        return [make_plan(in_skeleton(cell, skeleton), space.ops, task) for cell in cells]
    options = dict(channels=skeleton.channels[0], cells=(skeleton.repeats or (1,))[0])
    return [PLANS[space.name](cell, task, **options) for cell in cells]


def cost_conditions(
    cells: Sequence[Cell], space: Space, skeleton: Skeleton
) -> Float[np.ndarray, "cells 2"]:
    """log params and log MACs of each cell in the skeleton, exact."""
    if space.name == "open":
        networks = [in_skeleton(cell, skeleton) for cell in cells]
        costs = count_many(networks, space.ops, skeleton_task(skeleton))
        return np.log(np.stack([costs.params, costs.macs], 1).astype(np.float64))
    costs = [count(plan) for plan in skeleton_plans(cells, space, skeleton)]
    return np.log(np.array([(one.params, one.macs) for one in costs], np.float64))


def score_conditions(
    key: Key[Array, ""],
    cells: Sequence[Cell],
    space: Space,
    skeleton: Skeleton,
    *,
    on_scored: Callable[[int], None] = lambda done: None,
) -> Float[np.ndarray, "cells 2"]:
    """log SNIP-SNR and NWOT of each cell in the skeleton, on natural images. Not finite where the
    score is not, or is zero: where no gradient reaches a layer, where two images fire alike (flat
    ones, say, in a network that lets nothing through), so that the kernel is singular."""
    keys, task = children(key, "images", "weights"), skeleton_task(skeleton)
    images, labels = natural_batch(keys["images"], skeleton.batch, task)
    plans = skeleton_plans(cells, space, skeleton)
    proxies = {name: PROXIES[name] for name in ("snip_snr", "nwot_outputs")}
    scores = score(plans, proxies, keys["weights"], images, labels, on_scored=on_scored)
    nwot = scores.values["nwot_outputs"]
    with np.errstate(divide="ignore"):
        return np.stack([np.log(scores.values["snip_snr"]), np.where(nwot == 0, np.nan, nwot)], 1)
