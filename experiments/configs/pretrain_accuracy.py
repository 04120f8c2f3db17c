"""Fits the predictor of trained accuracy, the fitness `predicted_accuracy` (seconds).

    python experiments/run.py --config=experiments/configs/pretrain_accuracy.py \
        --workdir=runs/accuracy

Reads the table that `fitness_table.py` made (needs `pip install -e '.[benchmarks]'`). With
`--config.ship=True` the weights replace those in `nasgen/pretrained/`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the shipped weights."""
    config = ConfigDict()
    config.seed = 0  # of the folds
    config.pipeline = "pretrain_accuracy"
    config.compilation_cache = True
    config.table = "results/fitness_table.parquet"
    # trees, linear, both, or best: of these by cross-validation. What a linear function foretells
    # is highest in a corner of the table, where searches end and networks are poor.
    config.fit = "trees"
    config.folds = 10
    config.ship = False  # copy the weights into nasgen/pretrained/ under `name`
    config.name = "open"
    return config
