"""Who makes the best network for CIFAR-10 within 100 k params and 10 M MACs, by real training: the
methods, and networks by hand.

    NASGEN_DATA=FOLDER python experiments/run.py --config=experiments/configs/bench_trained.py \
        --workdir=runs/bench_trained

Every search and every training is kept: the same command goes on where a run was interrupted, over
days if need be. Digits, in minutes: `--config.task.name=digits` with a smaller budget.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from experiments.configs import default


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0  # of the split, and of the bootstrap
    config.pipeline = "bench_trained"
    config.compilation_cache = True
    config.task = default.get_config().task
    config.task.name = "cifar10"
    config.budget = ConfigDict(dict(params=100_000, macs=10_000_000))
    config.budget.activation_memory = placeholder(int)
    config.budget.latency_ms = placeholder(float)
    config.entrants = ("nasgen", "hl_evo", "hl_evo_t_cet", "evolution", "random")
    config.by_hand = ("resnet", "mobilenet_v2", "hgen_cifar_1m")
    config.num_seeds = 3  # of the searches
    config.num_trainings = 2  # of each network that was found; as many in all by hand

    # How networks are found.
    config.pretrained = "open"  # the generators: shipped, or the folder of a pretrain_macro run
    config.accuracy = "open"  # the predictor: shipped, or the folder of a pretrain_accuracy run
    config.num_exact = 100  # networks scored exactly by each method
    config.num_proposals = 2_048  # of nasgen, in the first round
    config.score_batch = 32
    config.methods = default.get_methods()
    config.methods.paper.spaces = 15  # the paper's 3,000 of 20,000, for a 200th of the scores
    config.methods.paper.population = 10

    # How every network is trained.
    config.num_train = 45_000  # images, at most
    config.num_test = 10_000
    config.steps = (150, 300, 600, 1_200)  # that it is judged after; the last ends it
    config.batch_size = 32
    config.learning_rate = 0.05
    config.warmup = 20
    config.max_shift = 3
    config.flip = True
    config.workers = 2  # processes of one thread each; results do not depend on them

    # Networks that use less of every bound are left out where fitness and accuracy are compared.
    config.least_used = 0.5
    config.bootstrap = 1_000
    config.plots = True  # the picture (needs matplotlib)
    return config
