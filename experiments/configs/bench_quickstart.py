"""The quickstart over three seeds: its test accuracy with an interval, and the three searches.

    python experiments/run.py --config=experiments/configs/bench_quickstart.py \
        --workdir=runs/bench_quickstart --config.design.finalists=0

So the best by score wins; with the quickstart's own finalists some seeds would train another one.
"""

from ml_collections import ConfigDict

from experiments.configs import quickstart


def get_config() -> ConfigDict:
    """The quickstart's config, and how often."""
    config = quickstart.get_config()
    config.pipeline = "bench_seeds"
    config.num_seeds = 3  # seeds `seed`, `seed + 1`, ...
    return config
