"""What each part of nasgen is worth by real training: other fitnesses in place of the predicted
accuracy, either level alone, other sources of cells.

    NASGEN_DATA=FOLDER python experiments/run.py --config=experiments/configs/bench_ablations.py \
        --workdir=runs/bench_ablations

The trainings are shorter than those of `bench_trained`, whose keys these are. Other tasks:
`--config.task.name=digits`, or `own` with `--config.task.path=FILE`, and their budgets.
"""

from ml_collections import ConfigDict

from experiments.configs import bench_trained


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = bench_trained.get_config()
    config.entrants = (
        "nasgen",
        "nasgen_t_cet",
        "nasgen_nwot",
        "nasgen_zico",
        "nasgen_az_nas",
        "nasgen_synflow",
        "nasgen_params",
        "nasgen_macs",
        "nasgen_prior_cells",
        "nasgen_sampler_cells",
        "macro_only",
        "cells_only",
        "evolution",
        "random_search",
        "random",
    )
    config.by_hand = ()
    config.num_seeds = 5
    config.num_trainings = 1
    config.num_exact = 50
    config.num_train = 20_000
    config.num_test = 4_000
    config.steps = (160, 320)
    return config
