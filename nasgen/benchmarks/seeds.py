"""A design run repeated over seeds: means, 95 % intervals, all values.

Each seed is a whole run of its own in `seed-N/`, so it resumes like any other. Data split, search,
initialisation and training all follow from the seed.
"""

import numpy as np
from ml_collections import ConfigDict

from nasgen.pipeline import design
from nasgen.pipeline.config import DESIGN, check, validate, whole
from nasgen.pipeline.nested import run_nested
from nasgen.pipeline.request import load_request
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.statistics import interval_of_mean

MEASURES = (
    "test_accuracy",
    "validation_accuracy",
    "params",
    "macs",
    "best_score_nasgen",
    "best_score_random",
    "best_score_evolution",
    "share_inside_first_round",
    "seconds_total",
    "seconds_compile",
)


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Runs every seed, then writes results.json. Raises UserError for a config that is off."""
    check(config, {**DESIGN, "num_seeds": whole(1, 1000)})
    results = []
    for seed in range(config.seed, config.seed + config.num_seeds):
        results.append(_one_seed(config, workdir, seed))
    write_results(workdir, summary(results))


def _one_seed(config: ConfigDict, workdir: Workdir, seed: int) -> dict:
    one = config.copy_and_resolve_references()
    with one.unlocked():
        del one.num_seeds
        one.pipeline, one.seed = "design", seed
    validate(one, pipelines=("design",))
    path = workdir.path / f"seed-{seed}"
    return run_nested(path, one, lambda own, inner: design.run(own, inner, load_request(own)))


def summary(results: list[dict]) -> dict[str, float | list[float]]:
    """Of each measure its mean, the 95 % interval of the mean (Student's t) and all values."""
    figures: dict[str, float | list[float]] = {"num_seeds": len(results)}
    for name in MEASURES:
        values = np.array([one[name] for one in results if one.get(name) is not None], float)
        if not len(values):
            continue
        figures[name] = float(values.mean())
        figures[f"{name}/all"] = values.tolist()
        if len(values) > 1:
            figures[f"{name}/interval"] = interval_of_mean(values)
    figures |= {
        name: one
        for name, one in results[0].items()
        if name.startswith("budget_") or name == "num_exact_evaluations"
    }
    return figures
