"""What each part of nasgen is worth on digits, by real training (see `bench_ablations`).

    python experiments/run.py --config=experiments/configs/bench_ablations_digits.py \
        --workdir=runs/bench_ablations_digits
"""

from ml_collections import ConfigDict

from experiments.configs import bench_ablations


def get_config() -> ConfigDict:
    """Its budget is the quickstart's."""
    config = bench_ablations.get_config()
    config.task.name = "digits"
    config.budget.params = 30_000
    config.budget.macs = 2_000_000
    config.steps = (50, 100)  # after more, most networks are right on all but a few images
    config.batch_size = 64
    config.learning_rate = 0.1
    config.warmup = 15
    config.max_shift = 1
    config.flip = False
    config.score_batch = 64
    return config
