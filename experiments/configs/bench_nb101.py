"""NAS-Bench-101: what each method has found after so many queries, 20 seeds.

    NASGEN_DATA=FOLDER python experiments/run.py --config=experiments/configs/bench_nb101.py \
        --workdir=runs/bench_nb101

Needs the tables (see `docs/tables.md`) and `pip install -e '.[benchmarks,plots]'`.
"""

from ml_collections import ConfigDict

from experiments.configs import bench_nb201


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = bench_nb201.get_config()
    config.benchmark = "nb101"
    config.data_sets = ("cifar10",)
    config.pretrained = "nb101"
    config.bounds.devices = ()  # no latencies are recorded
    config.methods = tuple(name for name in config.methods if name != "proxy_macs")
    return config
