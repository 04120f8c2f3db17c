"""Trains the best network that the paper's authors found on CIFAR: 992,516 params for ten classes.

    python experiments/run.py --config=experiments/configs/paper_cifar.py --workdir=runs/paper_cifar

The best published figure of such a size and search (T-CET, at most 1 M params, 1,440 epochs) is
97.22 %, with AutoAugment, mixup and random erasing, which are not among the settings below. Its
1 G MACs an image ask for an accelerator: nobody has run this config to its end, so no accuracy of
ours stands here.
`--config.model` takes any name of `nasgen.list_models("hgen_*")`.
"""

from ml_collections import ConfigDict

from experiments.configs import default

EPOCHS, IMAGES, BATCH = 1_440, 45_000, 64


def get_config() -> ConfigDict:
    """The paper's settings, as far as they go."""
    config = default.get_config()
    for group in ("pretrained", "budget", "design", "methods", "report"):
        del config[group]
    config.pipeline = "train_model"
    config.model = "hgen_cifar_1m"  # a published network's name, or a path of an architecture.json
    config.task.name = "cifar10"
    config.train.steps = EPOCHS * (IMAGES // BATCH)
    config.train.batch_size = BATCH
    config.train.learning_rate = 0.1 * BATCH / 256
    config.train.weight_decay = 5e-4
    config.train.warmup_fraction = 5 / EPOCHS
    config.train.max_shift = 4
    config.train.flip = True  # mirror images at random
    return config
