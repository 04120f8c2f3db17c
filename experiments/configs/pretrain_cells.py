"""Pretrains the generator of `open` cells from nothing (at most 40 minutes on two CPU cores).

    python experiments/run.py --config=experiments/configs/pretrain_cells.py \
        --workdir=runs/pretrain_cells

With `--config.ship=True` the weights replace those in `nasgen/pretrained/`. `pretrain_cells_nb201`,
`_nb101` and `_transnas` do the same for the spaces of these benchmarks.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """The config of the shipped weights."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "pretrain_cells"
    config.compilation_cache = True
    config.space = "open"
    config.ship = False  # copy the weights into nasgen/pretrained/ under `name`
    config.name = "open"

    # Cells, and the network that they are measured in (see bench_skeletons).
    config.measured = placeholder(str)  # a file by `nasgen.cells.save_measurements`: own conditions
    config.num_cells = 200_000  # distinct ones; their costs are exact
    config.num_labelled = 8_000  # of them, scored by SNIP-SNR and NWOT
    config.num_again = 200  # held-out ones scored once more, for the ceiling of the regressor
    config.chunk = 1_000  # scored cells a stage
    config.skeleton = ConfigDict()
    config.skeleton.channels = (8, 16, 32)
    config.skeleton.strides = (1, 2, 2)
    config.skeleton.repeats = (1, 1, 1)
    config.skeleton.final_width = 64
    config.skeleton.size = 16  # pixels
    config.skeleton.batch = 16  # images
    config.skeleton.num_classes = 10

    # Clusters: components of the Gaussian mixture over conditions, as many as BIC chooses.
    config.num_clusters = (4, 8, 16, 24, 32, 48, 64)
    config.num_mixture_cells = 20_000  # that the mixture is fitted on

    # The graph VAE and its losses.
    config.vae = training(steps=6_000, batch_size=256, learning_rate=2e-3)
    config.vae.model = ConfigDict(
        dict(latent_dim=64, width=64, depth=4, readout_width=256, decoder_width=512)
    )
    config.vae.model.update(step_width=192, step_depth=2)  # of the decoder's steps
    config.vae.loss = ConfigDict()
    config.vae.loss.kl_weight = 0.01
    config.vae.loss.triplet_weight = 3.0
    config.vae.loss.condition_weight = 10.0
    config.vae.loss.told_probability = 0.75  # how often the decoder is told what is asked for
    config.vae.loss.blur = 1.5  # noise on latents, in their standard deviations, that it must bear

    # The conditional flow on latents.
    config.flow = training(steps=12_000, batch_size=512, learning_rate=2e-3)
    config.flow.drop_probability = 0.2  # of each condition, and of all, in training
    config.flow.spread = 0.35  # of the noise around a cell's latent, so that cells are no points
    config.flow.pairing = False  # noise paired with data by optimal transport within a batch,
    config.flow.pairing_weight = 1.0  # paying so much for noise of another condition
    config.flow.model = ConfigDict(dict(width=256, depth=4, context_width=128))
    return config


def training(*, steps: int, batch_size: int, learning_rate: float) -> ConfigDict:
    """AdamW with warm-up and cosine."""
    settings = dict(steps=steps, batch_size=batch_size, learning_rate=learning_rate)
    return ConfigDict({**settings, "weight_decay": 1e-4})
