"""Pretrains both levels from nothing and writes the weights (about 20 minutes on two CPU cores).

    python experiments/run.py --config=experiments/configs/pretrain.py --workdir=runs/pretrain

With `--config.ship=True` the weights replace those in `nasgen/pretrained/`. Otherwise use them by
`--config.pretrained=runs/pretrain` in a design run.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the shipped weights."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "pretrain"
    config.compilation_cache = True
    config.space = "open"  # the space of cells
    config.ship = False  # copy the weights into nasgen/pretrained/ under `name`
    config.name = "open"

    # Cells, and the network that they are measured in (REFERENCE: 17 cells; here one a stage).
    config.num_cells = 100_000  # sampled, before duplicates go; their costs are exact
    config.num_labelled = 1_600  # of them, scored by SNIP-SNR and NWOT
    config.num_clusters = 32  # components of the Gaussian mixture over conditions
    config.num_mixture_cells = 20_000  # that the mixture is fitted on
    config.skeleton = ConfigDict()
    config.skeleton.channels = (8, 16, 32)
    config.skeleton.strides = (1, 2, 2)
    config.skeleton.final_width = 64
    config.skeleton.size = 16  # pixels
    config.skeleton.batch = 16  # images
    config.skeleton.num_classes = 10

    # The graph VAE and its losses.
    config.vae = _training(steps=3_500, batch_size=256, learning_rate=2e-3)
    config.vae.model = ConfigDict(
        dict(latent_dim=64, width=64, depth=4, readout_width=256, decoder_width=512, step_width=128)
    )
    config.vae.loss = ConfigDict()
    config.vae.loss.kl_weight = 0.01
    config.vae.loss.triplet_weight = 1.0
    config.vae.loss.condition_weight = 10.0
    config.vae.loss.told_probability = 0.75  # how often the decoder is told what is asked for
    config.vae.loss.blur = 0.8  # noise on latents, in their standard deviations, that it must bear

    # The conditional flow on latents.
    config.flow = _training(steps=10_000, batch_size=512, learning_rate=2e-3)
    config.flow.drop_probability = 0.2  # of each condition, and of all, in training
    config.flow.model = ConfigDict(dict(width=256, depth=4, context_width=128))

    # Networks that the macro transformer learns from.
    config.networks = ConfigDict()
    config.networks.num = 20_000
    config.networks.num_scored = 2_000  # exactly, by T-CET; the others by the surrogate
    config.networks.sizes = (8, 16, 32)  # pixels
    config.networks.classes = (2, 10, 20, 100)
    config.networks.batch = 16  # images of a score
    config.networks.max_channels = 256
    config.networks.max_params = 500_000
    config.networks.max_macs = 10_000_000
    config.networks.max_layers = 200

    # The macro transformer.
    config.macro = _training(steps=4_000, batch_size=96, learning_rate=2e-3)
    config.macro.drop_probability = 0.15  # of each budget and the quality
    config.macro.max_slack = 1.15  # budgets lie up to this factor above the costs
    config.macro.model = ConfigDict(dict(width=64, depth=3, heads=4))
    return config


def _training(*, steps: int, batch_size: int, learning_rate: float) -> ConfigDict:
    """AdamW with warm-up and cosine."""
    settings = dict(steps=steps, batch_size=batch_size, learning_rate=learning_rate)
    return ConfigDict({**settings, "weight_decay": 1e-4})
