"""CIFAR-100 as NAS-Bench-360 has it: 32x32 colour images in a hundred classes, accuracy.

    python experiments/run.py --config=experiments/configs/nb360_cifar100.py \\
        --workdir=runs/cifar100

`cifar100.py` is the task as the paper trains it, with another validation part. See `nb360.py`.
"""

from ml_collections import ConfigDict

from experiments.configs import nb360


def get_config() -> ConfigDict:
    """The task under the benchmark's recipe."""
    config = nb360.for_task("cifar100", examples=40_000, batch_size=128)
    config.train.max_shift = 4
    config.train.flip = True
    return config
