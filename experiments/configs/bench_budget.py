"""Budgets met by generated networks: 10,000 requests over tasks and budgets of all sizes.

    python experiments/run.py --config=experiments/configs/bench_budget.py \
        --workdir=runs/bench_budget

Each seed is kept: the same command goes on where a run was interrupted.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_budget"
    config.compilation_cache = True
    config.pretrained = "open"  # shipped weights, or the folder of a pretrain_macro run
    config.seeds = (0, 1, 2, 3, 4)
    config.requests = 2_000  # of each seed
    config.recounted = 100  # networks of each seed that are counted again on their plans
    config.sizes = (8, 224)  # pixels; from 128 on the stem halves them
    config.classes = (2, 1000)
    config.params = (10_000, 10_000_000)
    config.macs = (1_000_000, 1_000_000_000)
    config.activation_memory = (100_000, 100_000_000)  # bytes of one example
    config.plots = True
    return config
