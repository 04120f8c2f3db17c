"""How many mixture components, and whether the metric loss, matter for the networks that come out.

    python experiments/run.py --config=experiments/configs/pretrain_cells.py \
        --workdir=runs/cells_no_metric --config.vae.loss.triplet_weight=0
    python experiments/run.py --config=experiments/configs/pretrain_cells.py \
        --workdir=runs/cells_seed_1 --config.seed=1
    NASGEN_DATA=FOLDER python experiments/run.py --config=experiments/configs/bench_variants.py \
        --workdir=runs/bench_variants

The second level is pretrained anew for each, on a quarter of the networks that the shipped one
learned from and a tenth of the scores; so it is the first variant, with the shipped cells, that the
others are compared with. Cells without the metric loss are pretrained once, so they differ by luck,
too: how much that is, `other_seed` shows, cells with the loss of another seed.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from experiments.configs import bench_trained, pretrain_macro


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_variants"
    config.compilation_cache = True
    config.num_mixture_cells = 20_000  # that mixtures are fitted on

    config.variants = ConfigDict()
    config.variants.chosen = variant("open", 32)  # by BIC; fitted anew, as all others are
    for number in (8, 16, 64):
        config.variants[f"components_{number}"] = variant("open", number)
    config.variants.no_metric_loss = variant("runs/cells_no_metric", 32)
    config.variants.other_seed = variant("runs/cells_seed_1", 32)

    # Those that run; the first is what the others are compared with.
    config.names = tuple(config.variants)

    config.macro = pretrain_macro.get_config()
    config.macro.networks.num = 6_000
    config.macro.networks.num_scored = 200
    config.macro.macro.steps = 1_500
    config.macro.num_asked = 256

    config.trained = bench_trained.get_config()
    config.trained.entrants = ("nasgen",)
    config.trained.by_hand = ()
    config.trained.num_seeds = 5
    config.trained.num_trainings = 1
    config.trained.num_exact = 50
    config.trained.num_train = 20_000
    config.trained.num_test = 4_000
    config.trained.steps = (320,)
    return config


def variant(cells: str, components: int | None) -> ConfigDict:
    """cells: weights, shipped or of a pretrain_cells run. components: of a mixture that is fitted
    anew; None keeps theirs."""
    settings = ConfigDict({"cells": cells})
    settings.components = placeholder(int)
    settings.components = components
    return settings
