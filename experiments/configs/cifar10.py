"""CIFAR-10 as the paper trains it: at most a million parameters, 1,440 epochs.

    python experiments/run.py --config=experiments/configs/cifar10.py --workdir=runs/cifar10

The recipe is that of ZenNAS (Lin et al., ICCV 2021). Published for this budget: T-CET 97.22 %,
ZiCo 97.0 %, ZenNAS 96.2 %. CIFAR-10 lies in the folder that NASGEN_DATA names (see
`nasgen/data/cifar10.py`). It needs an accelerator; `cifar10_small.py` is the one for a CPU.
"""

from ml_collections import ConfigDict

from experiments.configs import default

EPOCHS, WARMUP = 1_440, 5


def get_config() -> ConfigDict:
    """The default under the paper's budget, with the paper's recipe."""
    config = default.get_config()
    config.task.name = "cifar10"
    config.budget.params = 1_000_000
    set_recipe(config, images=45_000)
    return config


def set_recipe(config: ConfigDict, *, images: int) -> None:
    """The recipe of both CIFAR data sets, for so many training images."""
    train = config.train
    train.batch_size = 64
    train.steps = EPOCHS * (images // train.batch_size)
    train.learning_rate = 0.1 * train.batch_size / 256
    train.weight_decay = 5e-4
    train.warmup_fraction = WARMUP / EPOCHS
    train.label_smoothing = 0.1
    train.max_shift = 4
    train.flip = True
    train.auto_augment = "cifar10"
    train.erasing = 0.5
    train.mixup = 0.2
