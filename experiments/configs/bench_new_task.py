"""Seconds from shipped weights to networks for a new task, in fresh processes that compile anew.

    python experiments/run.py --config=experiments/configs/bench_new_task.py \
        --workdir=runs/bench_new_task
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_new_task"
    config.compilation_cache = False
    config.pretrained = "open"  # shipped weights, or the folder of a pretrain_macro run
    config.seeds = (0, 1, 2, 3, 4)  # a process each
    config.size = 32  # pixels of the new task's square images
    config.channels = 3
    config.classes = 10
    config.num = 8  # networks
    config.budget = ConfigDict(dict(params=100_000, macs=10_000_000))
    config.budget.activation_memory = None
    return config
