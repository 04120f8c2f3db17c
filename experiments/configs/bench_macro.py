"""NAS-Bench-Macro: what each method has found after so many queries, 20 seeds.

    NASGEN_DATA=FOLDER python experiments/run.py --config=experiments/configs/bench_macro.py \
        --workdir=runs/bench_macro

Needs the tables (see `docs/tables.md`) and `pip install -e '.[benchmarks,plots]'`. Networks are
sentences here, written by the transformer, which the run trains in seconds.
"""

from ml_collections import ConfigDict

from experiments.configs import bench_nb201


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = bench_nb201.get_config()
    config.benchmark = "nb_macro"
    config.data_sets = ("cifar10",)
    config.pretrained = "none"  # its networks are no cells
    config.queries = 100
    config.bounds.devices = ()  # no latencies are recorded
    return config
