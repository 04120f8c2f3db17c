"""TransNAS-Bench-101 micro: what each method has found after so many queries, seven tasks.

    python experiments/run.py --config=experiments/configs/pretrain_cells_transnas.py \
        --workdir=runs/pretrain_cells_transnas
    NASGEN_DATA=FOLDER python experiments/run.py --config=experiments/configs/bench_transnas.py \
        --workdir=runs/bench_transnas

Needs the tables (see `docs/tables.md`) and `pip install -e '.[benchmarks,plots]'`. The generator
of its cells is not shipped: the first command makes it.
"""

from ml_collections import ConfigDict

from experiments.configs import bench_nb201


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = bench_nb201.get_config()
    config.benchmark = "transnas_micro"
    config.data_sets = (
        "class_scene",
        "class_object",
        "room_layout",
        "jigsaw",
        "segmentsemantic",
        "normal",
        "autoencoder",
    )
    config.pretrained = "runs/pretrain_cells_transnas"
    config.queries = 100
    config.bounds.devices = ()  # no latencies are recorded
    return config
