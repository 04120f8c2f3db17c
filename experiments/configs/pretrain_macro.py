"""Pretrains the generator of macro architectures, on top of one of cells (about half an hour).

    python experiments/run.py --config=experiments/configs/pretrain_macro.py \
        --workdir=runs/pretrain_macro [--config.cells=runs/pretrain_cells]

With `--config.ship=True` the weights replace those in `nasgen/pretrained/`. Otherwise use them by
`--config.pretrained=runs/pretrain_macro` in a design run.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from experiments.configs.pretrain_cells import training


def get_config() -> ConfigDict:
    """The config of the shipped weights."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "pretrain_macro"
    config.compilation_cache = True
    config.cells = "open"  # shipped weights of cells, or the folder of a pretrain_cells run
    config.fitness = "t_cet"  # what the quality of a network means, see `macro_quality.SOURCES`
    config.accuracy = placeholder(str)  # a predictor, as cells; its word is learned beside it
    config.accuracy = "open"
    config.ship = False  # copy the weights into nasgen/pretrained/ under `name`
    config.name = "open"

    # Networks that the macro transformer learns from: fitted to tasks and budgets that are drawn
    # log-uniformly between these ends.
    config.num_cells = 50_000  # that they are built of
    config.num_asked = 512  # requests with and without a wish, for the figures
    config.networks = ConfigDict()
    config.networks.num = 24_000
    config.networks.sizes = (8, 224)  # pixels; from 128 on the stem halves them
    config.networks.classes = (2, 1000)
    config.networks.params = (10_000, 10_000_000)
    config.networks.macs = (1_000_000, 1_000_000_000)

    # Others that are scored exactly, for tasks of these sizes and classes alone.
    config.networks.num_scored = 2_000
    config.networks.scored_sizes = (8, 16, 32, 64, 128)
    config.networks.scored_classes = (10, 100, 1000)
    config.networks.scored_macs = 200_000_000  # at most
    config.networks.heavy_macs = 30_000_000  # of those above only every fourth is scored
    config.networks.batch = 8  # images of a score

    # The macro transformer.
    config.macro = training(steps=6_000, batch_size=96, learning_rate=2e-3)
    config.macro.drop_probability = 0.3  # of each budget and the quality
    config.macro.max_slack = 1.15  # budgets lie up to this factor above the costs
    config.macro.model = ConfigDict(dict(width=64, depth=3, heads=4))
    return config
