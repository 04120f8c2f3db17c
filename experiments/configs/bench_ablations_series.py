"""What each part of nasgen is worth on a time series, by real training (see `bench_ablations`).

    python experiments/run.py --config=experiments/configs/bench_ablations_series.py \
        --workdir=runs/bench_ablations_series --config.task.path=FILE

FILE: a CSV or Parquet file with a label for each series, see `nasgen/data/series.py`.
"""

from ml_collections import ConfigDict

from experiments.configs import bench_ablations


def get_config() -> ConfigDict:
    """A config for short series, such as JapaneseVowels: nine speakers to tell apart."""
    config = bench_ablations.get_config()
    config.task.name = "own"
    config.budget.params = 30_000
    config.budget.macs = 1_000_000
    config.steps = (50, 100)
    config.max_shift = 0
    config.flip = False
    return config
