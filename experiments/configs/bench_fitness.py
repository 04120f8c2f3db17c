"""Every fitness against trained accuracies at equal cost, on what the predictor has not seen.

    NASGEN_DATA=FOLDER python experiments/run.py --config=experiments/configs/bench_fitness.py \
        --workdir=runs/bench_fitness

Reads the table that `fitness_table.py` made (needs `pip install -e '.[benchmarks]'`); seconds,
but for the proof, which searches and trains for about an hour and needs CIFAR-10.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0  # of the bootstrap
    config.pipeline = "bench_fitness"
    config.compilation_cache = True
    config.table = "results/fitness_table.parquet"
    config.fit = "trees"  # how the predictor is fitted: linear, trees, both
    config.bootstrap = 1_000  # samples of an interval

    # Networks found by each method for one budget, trained by one recipe and tested.
    config.proof = ConfigDict()
    config.proof.num_seeds = 5  # 0: no proof
    config.proof.num_trainings = 1  # of each network
    config.proof.task = "cifar10"
    config.proof.pretrained = "open"  # the generator
    config.proof.accuracy = "open"  # the predictor: shipped, or the folder of pretrain_accuracy
    config.proof.params = 100_000  # at most
    config.proof.macs = 10_000_000
    config.proof.num_exact = 32  # networks scored by each method
    config.proof.num_proposals = 512  # of generate
    config.proof.score_batch = 32
    config.proof.num_train = 20_000
    config.proof.num_test = 2_000
    config.proof.steps = (320,)
    config.proof.batch_size = 32
    config.proof.learning_rate = 0.05
    config.proof.warmup = 20
    config.proof.max_shift = 3
    config.proof.flip = True
    config.proof.workers = 2
    return config
