"""Trains the best network that the paper's authors found on CIFAR: 992,516 params for ten classes.

    python experiments/run.py --config=experiments/configs/paper_cifar.py --workdir=runs/paper_cifar

The recipe of `cifar10.py`, the paper's. The best published figure of such a size and search (T-CET,
at most 1 M params, 1,440 epochs) is 97.22 %. Its 1 G MACs an image ask for an accelerator: nobody
has run this config to its end, so no accuracy of ours stands here.
`--config.model` takes any name of `nasgen.list_models("hgen_*")`.
"""

from ml_collections import ConfigDict

from experiments.configs import cifar10


def get_config() -> ConfigDict:
    """The paper's settings."""
    return train_model(cifar10.get_config(), "hgen_cifar_1m")


def train_model(config: ConfigDict, model: str) -> ConfigDict:
    """A design run's config made one that trains a named network on the same task."""
    for group in ("pretrained", "budget", "design", "methods", "report"):
        del config[group]
    config.pipeline = "train_model"
    config.model = model  # a published network's name, or a path of an architecture.json
    return config
