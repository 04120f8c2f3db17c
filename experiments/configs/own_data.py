"""A network for data of your own: images in a folder for each class, arrays in an .npz file, or
time series in a CSV or Parquet file.

    python experiments/run.py --config=experiments/configs/own_data.py --workdir=runs/own \\
        --config.task.path=photos/ --config.budget.params=200_000

The kind of source is told by the path; `nasgen/data/own.py` says how, and `default.py` what can be
set under `config.task`.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config() -> ConfigDict:
    """The default for your own data."""
    config = default.get_config()
    config.task.name = "own"
    config.design.finalists = 3  # networks and one drawn at random try your data before one wins
    config.train.clip_norm = 1.0  # without, numbers to predict make many a training diverge
    return config
