"""Whether searching for `predicted_accuracy` pays: a contest (see there) between `generate`, others
with the same fitness and equally many exact scores of it, and one network drawn at random."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from nasgen import data
from nasgen.benchmarks import contest
from nasgen.data.task import Dataset
from nasgen.pipeline.config import UserError, one_of, whole
from nasgen.pipeline.fitness_table import BUILT_IN
from nasgen.pipeline.workdir import Workdir
from nasgen.statistics import interval_of_mean
from nasgen.types import Budget

RULES = {
    **contest.rules("proof."),
    "proof.task": one_of(BUILT_IN),
    "proof.params": whole(1),
    "proof.macs": whole(1),
}
# the contest's name -> that of the figures
METHODS = {n: n for n in ("random", "random_search", "evolution")} | {"nasgen": "generate"}


def load_task(settings: ConfigDict) -> Dataset:
    """The data. Raises UserError where they are not there."""
    try:
        return data.load(settings.task, seed=0)
    except ValueError as error:
        raise UserError(str(error)) from None


def prove(settings: ConfigDict, workdir: Workdir, dataset: Dataset, bundle) -> dict[str, Any]:
    """Searches and trains, each network kept; `METHOD/test_accuracy/median` and `/all`, and by how
    much generate's networks are better seed by seed: `generate/over/METHOD/mean`, `/interval`."""
    budget = Budget(params=settings.params, macs=settings.macs)
    networks = contest.hold(
        *(settings, workdir, dataset, budget, bundle), entrants=tuple(METHODS), groups={}
    )
    figures: dict[str, Any] = {}
    for name, shown in METHODS.items():
        mine = [one for one in networks if one.name == name]
        values = [float(one.accuracies[:, -1].mean()) for one in mine]
        figures |= {
            f"{shown}/test_accuracy/median": float(np.median(values)),
            f"{shown}/test_accuracy/all": values,
            f"{shown}/fitness/median": float(np.median([one.fitness for one in mine])),
        }
    own = np.array(figures["generate/test_accuracy/all"])
    for shown in METHODS.values():
        if shown != "generate":
            gained = own - figures[f"{shown}/test_accuracy/all"]
            figures[f"generate/over/{shown}/mean"] = float(gained.mean())
            if len(gained) > 1:
                figures[f"generate/over/{shown}/interval"] = interval_of_mean(gained)
    return figures
