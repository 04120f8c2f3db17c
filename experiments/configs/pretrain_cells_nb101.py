"""Pretrains the generator of NAS-Bench-101 cells on a tenth of the space.

    python experiments/run.py --config=experiments/configs/pretrain_cells_nb101.py \
        --workdir=runs/pretrain_cells_nb101
"""

from ml_collections import ConfigDict

from experiments.configs import pretrain_cells


def get_config() -> ConfigDict:
    """42,362 of 423,624 cells, drawn by the space's sampler."""
    config = pretrain_cells.get_config()
    config.space = config.name = "nb101"
    config.num_cells = 42_362
    config.num_labelled = 2_000
    config.num_clusters = (16, 32, 64, 96, 128)
    config.skeleton.channels, config.skeleton.strides = (16,), (1,)  # of the first of three groups
    config.skeleton.repeats = (1,)  # cells a group
    config.vae.model.update(latent_dim=48, width=64, readout_width=256, decoder_width=384)
    config.vae.model.step_width = 128
    config.vae.steps, config.flow.steps = 5_000, 8_000
    return config
