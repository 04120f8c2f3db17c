"""A first network in minutes on a laptop: digits, at most 30,000 params and 2 M MACs.

python experiments/run.py --config=experiments/configs/quickstart.py --workdir=runs/quickstart
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config() -> ConfigDict:
    """The quickstart: the default under a small budget."""
    config = default.get_config()
    config.budget.params = 30_000
    config.budget.macs = 2_000_000
    config.design.finalists = 3  # and one drawn at random: about a minute
    config.design.finalist_steps = 60
    config.train.steps = 640  # 40 epochs, about two minutes for a network of 200 layers
    return config
