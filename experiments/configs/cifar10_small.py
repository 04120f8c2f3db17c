"""A small network for CIFAR-10 on two CPU cores: at most 100,000 parameters and 10 M MACs.

    python experiments/run.py --config=experiments/configs/cifar10_small.py \
        --workdir=runs/cifar10_small

Few epochs, so little regularisation: of the paper's recipe only what helps a small network that is
trained briefly. Beside it, in the same run, the largest ResNet of such a budget is trained by the
same recipe: `resnet/test_accuracy` in results.json. CIFAR-10 lies in the folder that NASGEN_DATA
names (see `nasgen/data/cifar10.py`).
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config() -> ConfigDict:
    """The default under a small budget, trained briefly, and a ResNet beside it."""
    config = default.get_config()
    config.pipeline = "compare"
    config.beside = "resnet"  # a family of `nasgen/published/handmade.py`
    config.task.name = "cifar10"
    config.design.baselines = ()  # the time is for the trainings
    config.budget.params = 100_000
    config.budget.macs = 10_000_000
    config.train.steps = 2_109  # three epochs; 7 M MACs took half a core-second a step
    config.train.warmup_fraction = 0.1
    config.train.label_smoothing = 0.0
    config.train.max_shift = 4
    config.train.flip = True
    config.train.ema = 0.99
    return config
