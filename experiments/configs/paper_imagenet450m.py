"""Trains the best network of the authors' ImageNet set of 450 M.

    python experiments/run.py --config=experiments/configs/paper_imagenet450m.py \\
        --workdir=runs/paper_imagenet450m

The recipe of `imagenet.py`: the paper's, without its teacher. `paper_cifar.py` with
`--config.model=hgen_imagenet_450m` takes any other images, from 33 pixels a side. Nobody has run
this config to its end, so no accuracy of ours stands here.
"""

from ml_collections import ConfigDict

from experiments.configs import imagenet, paper_cifar


def get_config() -> ConfigDict:
    """The paper's settings, as far as they go."""
    return paper_cifar.train_model(imagenet.get_config(), "hgen_imagenet_450m")
