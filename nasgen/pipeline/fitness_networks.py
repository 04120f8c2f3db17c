"""Networks of `open` for the table of trained accuracies: in bands of equal cost, of mixed depth.

Half of a band is drawn at random, half by the shipped generator; of many that fit, those are taken
whose numbers of layers lie farthest apart. Or all of it is what searches for predicted accuracy
lead to: there a predictor that was fitted on drawn ones promises more than comes of it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from nasgen.data.task import Dataset
from nasgen.keys import children
from nasgen.models.accuracy import PREDICTED_ACCURACY
from nasgen.networks import costs, features, topology
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.cell_generator import conditions_of
from nasgen.pipeline.chunks import encode_all
from nasgen.pipeline.environment import release_memory
from nasgen.pipeline.examples import examples_of
from nasgen.pipeline.generators import design
from nasgen.pipeline.problems import make_problem
from nasgen.pretrained.bundle import Bundle
from nasgen.search.loop import search
from nasgen.search.methods import configured
from nasgen.search.state import scores
from nasgen.spaces import SPACES, graphs
from nasgen.spaces import macro as macro_space
from nasgen.spaces.formats import architecture_to_json
from nasgen.statistics import down_the_ranks
from nasgen.training.progress import announce
from nasgen.types import Architecture, Budget, Costs, Task

OPEN = SPACES["open"]
_BATCH, _MAX_BATCHES = 1024, 200
_POOL = 4  # networks that fit, for each one taken
_MAX_CHANNELS = 128


class Band(NamedTuple):
    """Costs from the first number up to below the second."""

    params: tuple[int, int]
    macs: tuple[int, int]

    def holds(self, counted: Costs) -> np.ndarray:
        """Which costs lie in the band."""
        inside = np.ones(np.shape(counted.params), bool)
        for name, (low, high) in self._asdict().items():
            inside &= (getattr(counted, name) >= low) & (getattr(counted, name) < high)
        return inside


class Asked(NamedTuple):
    """scores: of a search. each: networks that are taken of it, at most. steps: of the training
    that the predictor foretells. batch: examples of a score."""

    scores: int
    each: int
    steps: int
    batch: int


def draw_band(
    bundle: Bundle, key: Key[Array, ""], task: Task, band: Band, num: int
) -> list[tuple[str, Architecture]]:
    """`num` networks within the band, `random` ones and `generated` ones by turns. Raises
    ValueError where hardly any is found."""
    keys, half = children(key, "random", "generated"), (num + 1) // 2
    budget = Budget(params=band.params[1] - 1, macs=band.macs[1] - 1)
    sources = {
        "random": lambda k: random_networks(k, task, _BATCH),
        "generated": lambda k: design(bundle, k, task, budget, _BATCH // 4),
    }
    found = {}
    for name, draw in sources.items():
        pool: dict[str, Architecture] = {}
        for batch in range(_MAX_BATCHES):
            drawn = draw(jax.random.fold_in(keys[name], batch))
            inside = band.holds(costs.count_many(drawn, OPEN.ops, task))
            pool |= {str(drawn[i]): drawn[i] for i in np.flatnonzero(inside)}
            if len(pool) >= _POOL * half:
                break
        if len(pool) < half:
            raise ValueError(f"hardly any {name} network for {task.name} lies in {band}")
        found[name] = spread(list(pool.values())[: _POOL * half], half, task)
    pairs = zip(found["random"], found["generated"], strict=True)
    return [(name, one) for pair in pairs for name, one in zip(sources, pair, strict=True)][:num]


def search_band(
    bundle: Bundle, key: Key[Array, ""], dataset: Dataset, band: Band, num: int, asked: Asked
) -> list[tuple[str, Architecture]]:
    """`num` networks, all `searched`: of each search for predicted accuracy the best, then some
    ever further down its ranks, since its best are edits of one another. They keep the band's upper
    bounds, as a user's budget; one that costs less than the band is what a search leads to, too.
    Raises ValueError where searches find hardly any."""
    task, budget = dataset.task, Budget(params=band.params[1] - 1, macs=band.macs[1] - 1)
    method, found = configured("generate", {}), dict[str, Architecture]()
    for number in range(_MAX_BATCHES):
        keys = children(jax.random.fold_in(key, number), "problem", "batch", "search")
        examples = examples_of(keys["batch"], dataset, asked.batch)
        options = dict(fitness=PREDICTED_ACCURACY, steps=asked.steps)
        problem = make_problem(keys["problem"], bundle, task, budget, examples, **options)
        state = search(keys["search"], method, problem, asked.scores)
        release_memory()
        order = np.argsort(-scores(state, problem), kind="stable")
        places = down_the_ranks(min(asked.each, len(order)), len(order))
        taken = [state.architectures[i] for i in order[places]]
        found |= {str(one): one for one in taken}
        announce("searched", f"{task.name}: {min(len(found), num)} of {num} networks")
        if len(found) >= num:
            return [("searched", one) for one in list(found.values())[:num]]
    raise ValueError(f"searches for {task.name} find hardly any network below {band}")


def random_networks(key: Key[Array, ""], task: Task, num: int) -> list[Architecture]:
    """Random macro architectures with random cells, most of them over any budget."""
    options = dict(size=task.size, max_channels=_MAX_CHANNELS)
    return macro_space.sample_networks(key, num, OPEN, **options)


def spread(pool: Sequence[Architecture], num: int, task: Task) -> list[Architecture]:
    """`num` of the pool whose numbers of layers are spread evenly from the least to the most, in
    the pool's order."""
    layers = np.log(costs.count_many(pool, OPEN.ops, task).layers)
    left, taken = list(range(len(pool))), []
    for wanted in np.linspace(layers.min(), layers.max(), num):
        taken.append(min(left, key=lambda i: abs(layers[i] - wanted)))
        left.remove(taken[-1])
    return [pool[i] for i in sorted(taken)]


def describe(bundle: Bundle, task: Task, architecture: Architecture) -> dict[str, Any]:
    """What is known of a network before any weight is drawn: costs, features, wiring, and of its
    cells (one a stage) mean and last of their conditions and the mean of their latents."""
    plan = make_plan(architecture, OPEN.ops, task)
    counted = costs.count(plan)
    cells = graphs.pack(architecture.cells)
    conditions = conditions_of(bundle.cells, cells)
    latents = encode_all(bundle.cells.vae, bundle.cells.vae_config, *cells)
    named = dict(zip(features.NAMES, features.features(plan), strict=True))
    named |= dict(zip(topology.NAMES, topology.topology(plan), strict=True))
    row = {"costs": counted._asdict(), "features": named}
    row["cells"] = {
        f"{which}_{name}": value
        for which, values in (("mean", conditions.mean(0)), ("last", conditions[-1]))
        for name, value in zip(bundle.cells.names, values, strict=True)
    }
    row["latents"] = bundle.cells.latents.apply(latents).mean(0)
    return {**row, "architecture": architecture_to_json(architecture, OPEN)}
