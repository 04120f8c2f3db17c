"""Pretrains the generator of macro architectures, on top of one of cells (about ten minutes).

    python experiments/run.py --config=experiments/configs/pretrain_macro.py \
        --workdir=runs/pretrain_macro [--config.cells=runs/pretrain_cells]

With `--config.ship=True` the weights replace those in `nasgen/pretrained/`. Otherwise use them by
`--config.pretrained=runs/pretrain_macro` in a design run.
"""

from ml_collections import ConfigDict

from experiments.configs.pretrain_cells import training


def get_config() -> ConfigDict:
    """The config of the shipped weights."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "pretrain_macro"
    config.compilation_cache = True
    config.cells = "open"  # shipped weights of cells, or the folder of a pretrain_cells run
    config.ship = False  # copy the weights into nasgen/pretrained/ under `name`
    config.name = "open"

    # Networks that the macro transformer learns from.
    config.num_cells = 50_000  # that they are built of
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
    config.macro = training(steps=4_000, batch_size=96, learning_rate=2e-3)
    config.macro.drop_probability = 0.15  # of each budget and the quality
    config.macro.max_slack = 1.15  # budgets lie up to this factor above the costs
    config.macro.model = ConfigDict(dict(width=64, depth=3, heads=4))
    return config
