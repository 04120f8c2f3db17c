"""How fast networks train, against PyTorch in the same run; on an idle machine.

    python -m venv torch-env && torch-env/bin/pip install torch==2.13.0
    python experiments/run.py --config=experiments/configs/bench_training.py \\
        --workdir=runs/bench_training --config.reference_python=torch-env/bin/python
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """ResNet-20 and a generated network of the small CIFAR-10 budget, batches of 128."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_training"
    config.compilation_cache = False  # so that the seconds of compiling are those of a first run

    config.pretrained = "open"
    config.budget = ConfigDict()  # of the generated network
    config.budget.params = 100_000
    config.budget.macs = 10_000_000
    config.batch = 128  # images, of noise
    config.size = 32  # pixels
    config.num_classes = 10
    config.rounds = 15  # of turns, in which each side takes
    config.steps = 4  # so many steps
    config.part_rounds = 5  # over all parts of layers, of each the least counts; 0: no table

    # The Python of an environment with PyTorch; left out, only nasgen is timed.
    config.reference_python = placeholder(str)
    return config
