"""NAS-Bench-360 (Tu et al., NeurIPS 2022): what the configs of its ten tasks share.

    python experiments/run.py --config=experiments/configs/nb360_ninapro.py --workdir=runs/ninapro

The data sets, which are on nb360.ml.cmu.edu, are looked for in `nb360/` in the folder that
NASGEN_DATA names, or in `--config.task.path`; `nasgen/data/nb360` says which files of each, what is
read and how, and where what is measured differs from the benchmark's own evaluation. The recipe is
that of its Wide ResNets: SGD with Nesterov momentum, 200 epochs, no label smoothing, no changes of
images but of CIFAR-100; for maps a lower learning rate, and gradients that are clipped. They ask
for an accelerator: nobody has run these configs to their end, so no figure of ours stands here.
"""

from ml_collections import ConfigDict

from experiments.configs import default

EPOCHS = 200


def get_config() -> ConfigDict:
    """The smallest of the tasks."""
    return for_task("ninapro", examples=2_638, batch_size=128)


def for_task(
    dataset: str, *, examples: int, batch_size: int, learning_rate: float = 0.1
) -> ConfigDict:
    """The default for a task of so many training examples."""
    config = default.get_config()
    config.task.name = "nb360"
    config.task.dataset = dataset
    config.budget.params = 1_000_000
    train = config.train
    train.batch_size = batch_size
    train.steps = EPOCHS * (examples // batch_size)
    train.learning_rate = learning_rate
    train.label_smoothing = 0.0
    train.max_shift = 0
    return config


def for_maps(dataset: str, *, examples: int, batch_size: int) -> ConfigDict:
    """`for_task` where each pixel is predicted."""
    config = for_task(dataset, examples=examples, batch_size=batch_size, learning_rate=0.01)
    config.train.clip_norm = 1.0
    return config
