"""Pretrains the generator of NAS-Bench-201 cells on 30 % of the space.

    python experiments/run.py --config=experiments/configs/pretrain_cells_nb201.py \
        --workdir=runs/pretrain_cells_nb201
"""

from ml_collections import ConfigDict

from experiments.configs import pretrain_cells


def get_config() -> ConfigDict:
    """A smaller model: 15,625 cells of one wiring, in which only six ops differ."""
    config = pretrain_cells.get_config()
    config.space = config.name = "nb201"
    config.num_cells = 4_687
    config.num_labelled = 2_000
    config.num_mixture_cells = 4_000
    config.num_clusters = (2, 4, 8, 12, 16, 24, 32)
    config.skeleton.channels, config.skeleton.strides = (8,), (1,)  # of the first of three groups
    config.skeleton.repeats = (1,)  # cells a group
    config.vae.model.update(latent_dim=32, width=32, readout_width=128, decoder_width=256)
    config.vae.model.step_width = 64
    config.vae.steps, config.flow.steps = 3_000, 6_000
    config.flow.model.width = 192
    return config
