"""nasgen with 50 exact scores against the networks that the paper's authors found, by one T-CET.

    python experiments/run.py --config=experiments/configs/bench_authors.py \
        --workdir=runs/bench_authors

Of each set ten networks, see `nasgen/published`. What is scored is kept: the same command goes on
where a run was interrupted.
"""

from ml_collections import ConfigDict

from experiments.configs import default


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_authors"
    config.compilation_cache = True
    config.pretrained = "open"  # shipped weights, or the folder of a pretrain_macro run
    config.sets = ("cifar", "imagenet450m")
    config.seeds = (0, 1, 2, 3, 4)  # of images and weights, for both sides
    config.evaluations = 50  # exact scores of nasgen
    config.authors = 10  # of the authors' networks
    # Natural images of a score: few, since a network of 1 G MACs takes seconds with eight.
    config.batch = ConfigDict(dict(cifar=8, imagenet450m=8))
    config.methods = default.get_methods()
    config.methods.generate.proposals = 2_048
    return config
