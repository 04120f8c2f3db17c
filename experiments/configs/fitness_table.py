"""Trains networks briefly, on digits and CIFAR-10, 240 at first: what the fitness is fitted on.

    NASGEN_DATA=FOLDER python experiments/run.py --config=experiments/configs/fitness_table.py \
        --workdir=runs/fitness_table

Needs CIFAR-10 (see `nasgen/data/cifar10.py`) and `pip install -e '.[benchmarks]'`. Goes on where
it was interrupted. A later run with another seed and `--config.earlier=FILE` adds to the table,
and, with `--config.source=searched`, what searches for the present predicted accuracy lead to.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """The config of the first round of the table in `results/`; RESULTS has those after it."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "fitness_table"
    config.compilation_cache = True
    config.pretrained = "open"  # the generator of half the networks that are drawn
    config.workers = 2  # processes of one thread each; results do not depend on them
    config.earlier = placeholder(str)  # a table whose rows are kept
    config.source = "drawn"  # or "searched": networks that searches for predicted accuracy lead to
    config.accuracy = "open"  # its predictor: shipped, or the folder of a pretrain_accuracy run
    config.search = ConfigDict()
    config.search.scores = 48  # of each search
    config.search.each = 4  # networks that are taken of it, at most
    config.search.steps = placeholder(int)  # of training that it foretells; None: the brief one's
    config.tasks = ("digits", "cifar10")

    config.digits = ConfigDict()
    # Bands of cost, from .. to: one number a band.
    config.digits.params_from = (10_000, 30_000, 60_000)
    config.digits.params_to = (20_000, 50_000, 100_000)
    config.digits.macs_from = (200_000, 500_000, 1_000_000)
    config.digits.macs_to = (500_000, 1_500_000, 3_000_000)
    config.digits.num = 120  # networks, in all bands
    config.digits.num_long = 20  # of them, trained long
    config.digits.num_twice = 6  # of them, trained once more with another seed
    config.digits.num_train = 2_000  # training images, at most
    config.digits.num_evaluation = 2_000  # validation images that judge, at most
    config.digits.score_batch = 64
    config.digits.steps = (25, 50, 100, 200)  # after which a network is judged
    config.digits.long_steps = (25, 50, 100, 200, 400, 1_000)
    config.digits.batch_size = 64
    config.digits.learning_rate = 0.1
    config.digits.warmup = 15  # steps
    config.digits.max_shift = 1  # pixels
    config.digits.flip = False

    config.cifar10 = ConfigDict()
    config.cifar10.params_from = (10_000, 30_000, 60_000)
    config.cifar10.params_to = (20_000, 50_000, 100_000)
    config.cifar10.macs_from = (500_000, 2_000_000, 5_000_000)
    config.cifar10.macs_to = (1_000_000, 4_000_000, 10_000_000)
    config.cifar10.num = 120
    config.cifar10.num_long = 10
    config.cifar10.num_twice = 6
    config.cifar10.num_train = 20_000
    config.cifar10.num_evaluation = 1_000
    config.cifar10.score_batch = 32
    config.cifar10.steps = (40, 80, 160)
    config.cifar10.long_steps = (40, 80, 160, 320, 800)
    config.cifar10.batch_size = 32
    config.cifar10.learning_rate = 0.05
    config.cifar10.warmup = 20
    config.cifar10.max_shift = 3
    config.cifar10.flip = True
    return config
