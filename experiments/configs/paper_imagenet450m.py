"""Trains the best network that the paper's authors found on ImageNet below 450 M FLOPs.

    python experiments/run.py --config=experiments/configs/paper_imagenet450m.py \\
        --workdir=runs/paper_imagenet450m

That is 225 M MACs. The paper's 480 epochs with weight decay 4e-5; it adds squeeze-and-excitation
and distils from EfficientNet-B3, which the settings below do not. ImageNet is read whole into
memory, which few machines have enough of; `paper_cifar.py` with `--config.model=hgen_imagenet_450m`
takes any other images, from 33 pixels a side. Nobody has run this config to its end, so no accuracy
of ours stands here.
"""

from ml_collections import ConfigDict

from experiments.configs import paper_cifar

EPOCHS, IMAGES, BATCH = 480, 1_281_167, 256


def get_config() -> ConfigDict:
    """The paper's settings, as far as they go."""
    config = paper_cifar.get_config()
    config.model = "hgen_imagenet_450m"
    config.task.name = "tfds"
    config.task.dataset = "imagenet2012"
    config.task.size = 224
    config.train.steps = EPOCHS * (IMAGES // BATCH)
    config.train.batch_size = BATCH
    config.train.learning_rate = 0.1 * BATCH / 256
    config.train.weight_decay = 4e-5
    config.train.warmup_fraction = 5 / EPOCHS
    config.train.max_shift = 16
    return config
