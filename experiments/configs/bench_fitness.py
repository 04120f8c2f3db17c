"""Every fitness against trained accuracies at equal cost, on what the predictor has not seen.

    python experiments/run.py --config=experiments/configs/bench_fitness.py \
        --workdir=runs/bench_fitness

Reads the table that `fitness_table.py` made (seconds; needs `pip install 'nasgen[benchmarks]'`).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0  # of the bootstrap
    config.pipeline = "bench_fitness"
    config.compilation_cache = True
    config.table = "results/fitness_table.parquet"
    config.fit = "both"  # how the predictor is fitted: linear, trees, both
    config.bootstrap = 1_000  # samples of an interval
    return config
