"""Pretrains the generator of TransNAS-Bench-101's micro cells on half of the space.

    python experiments/run.py --config=experiments/configs/pretrain_cells_transnas.py \
        --workdir=runs/pretrain_cells_transnas
"""

from ml_collections import ConfigDict

from experiments.configs import pretrain_cells_nb201


def get_config() -> ConfigDict:
    """2,048 of 4,096 cells of one wiring."""
    config = pretrain_cells_nb201.get_config()
    config.space = config.name = "transnas_micro"
    config.num_cells = 2_048
    config.num_labelled = 1_000
    config.num_mixture_cells = 2_000
    config.skeleton.size = 64  # pixels, of which the stem leaves a sixteenth
    return config
