"""Whether the transformer does as it is asked: what it writes for the same tasks and budgets with a
wish and without."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Key

from nasgen.keys import children, generator
from nasgen.models.accuracy import PREDICTED_ACCURACY
from nasgen.models.macro_language import WORDS
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.fitness import STEPS
from nasgen.pipeline.generators import Wish, design_each, ranker_of
from nasgen.pipeline.macro_networks import OPEN, Ranges, draw_limits, draw_tasks, tasks_of
from nasgen.pretrained.bundle import Bundle
from nasgen.statistics import wilson_interval
from nasgen.types import Architecture, Budget, Task

ASKED = 1.5  # standard deviations


def asked(bundle: Bundle, key: Key[Array, ""], ranges: Ranges, num: int) -> dict[str, float]:
    """For each quality that the weights know: the share of `num` requests in which the network is
    expected to be better when it is asked for than when nothing is said; equals count half, so a
    half is no effect."""
    keys = children(key, "requests", "networks")
    rng = generator(keys["requests"])
    tasks = tasks_of(draw_tasks(rng, num, ranges))
    budgets = [Budget(*map(int, row)) for row in draw_limits(rng, num, ranges)[:, :2]]
    wishes = {"quality": Wish(quality=ASKED), "accuracy": Wish(accuracy=ASKED, steps=STEPS)}
    fitness = {"quality": bundle.fitness, "accuracy": PREDICTED_ACCURACY}
    figures: dict[str, float] = {}
    for word, wish in wishes.items():
        if not bundle.words[WORDS.index(word)]:
            continue
        ranker = ranker_of(bundle, fitness[word], STEPS)

        def expected(wish: Wish, ranker=ranker) -> np.ndarray:
            found = design_each(bundle, keys["networks"], tasks, budgets, wishes=(wish,))
            return _expected(ranker, found.architectures, tasks)

        difference = expected(wish) - expected(Wish())
        difference = difference[np.isfinite(difference)]
        share = float((np.sign(difference) / 2 + 0.5).mean())
        name = f"{word}/share_better"
        figures[name] = share
        figures[f"{name}_low"], figures[f"{name}_high"] = wilson_interval(share, len(difference))
    return figures


def _expected(ranker, some: Sequence[Architecture | None], tasks: Sequence[Task]) -> np.ndarray:
    """NaN where there is no network."""
    there = [i for i, one in enumerate(some) if one is not None]
    rows = [ranker.describe(make_plan(some[i], OPEN.ops, tasks[i])) for i in there]
    expected = np.full(len(some), np.nan)
    if there:
        expected[there] = ranker.prior(np.array(rows))
    return expected
