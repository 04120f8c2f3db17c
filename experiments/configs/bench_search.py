"""What each search has after how many exact scores: 32 px, 10 classes, 100 k params, 10 M MACs.

    python experiments/run.py --config=experiments/configs/bench_search.py \
        --workdir=runs/bench_search

Each method and seed is kept: the same command goes on where a run was interrupted.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_search"
    config.compilation_cache = True
    config.pretrained = "open"  # shipped weights, or the folder of a pretrain_macro run
    config.task = ConfigDict(dict(size=32, channels=3, classes=10))
    config.budget = ConfigDict(dict(params=100_000, macs=10_000_000))
    config.fitness = "t_cet"
    config.batch = 8  # natural images of a score, so that one takes about a tenth of a second
    config.seeds = (0, 1, 2, 3, 4)  # of the problem (images, weights) and of the search
    config.evaluations = ConfigDict()  # exact scores of each method; 0 leaves it out
    config.evaluations.generate = 200
    config.evaluations.evolution = 2_000
    config.evaluations.macro_only = 200
    config.evaluations.random = 500
    config.evaluations.local_search = 500
    config.evaluations.cells_only = 200
    config.evaluations.paper = 500
    config.marks = (8, 20, 50, 100, 200, 500, 1_000, 2_000)
    config.methods = default.get_methods()
    config.methods.generate.proposals = 2_048  # in the first round
    config.methods.paper.spaces = 75  # the paper's 3,000 of 20,000, for a fortieth of the scores
    config.methods.paper.population = 50  # a tenth
    config.plots = True  # the pictures (needs matplotlib)
    return config
