"""Validity, uniqueness, novelty, conditions met, speed and density of the generators of cells.

    python experiments/run.py --config=experiments/configs/bench_generation.py \
        --workdir=runs/bench_generation

Each part is kept: the same command goes on where a run was interrupted.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_generation"
    config.compilation_cache = True
    config.spaces = ("open", "nb201", "nb101")
    config.weights = ConfigDict(dict(open="open", nb201="nb201", nb101="nb101"))  # or folders
    config.seeds = (0, 1, 2, 3, 4)  # of everything drawn; figures are medians over them
    config.num = (10_000, 1_000)  # cells drawn with no condition given
    config.requests = 500  # conditions of held-out cells
    config.candidates = 16  # cells drawn for a request, the nearest kept
    config.guidance = 2.0  # of the guided figures
    config.beyond = 1.0  # standard deviations outside of what training has seen
    config.batch = 4_096  # cells at once, for the speed
    config.rounds = 5  # of the speed, of which the median counts
    config.densities = 128  # cells whose exact log-likelihood is computed
    config.density_conditions = 16  # under so many of their conditions each
    config.plots = True  # the picture (needs matplotlib)
    return config
