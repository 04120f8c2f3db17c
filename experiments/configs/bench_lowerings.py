"""Native against chosen times of every operation on this backend (about five minutes).

    python experiments/run.py --config=experiments/configs/bench_lowerings.py \
        --workdir=runs/bench_lowerings
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Shapes as in the scoring benchmark's skeleton."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_lowerings"
    config.compilation_cache = True
    config.batch = 64  # images
    config.sizes = (32, 32, 16, 8)  # pixels along a side,
    config.channels = (16, 96, 32, 64)  # each with these channels
    config.rounds = 5  # turns of native and chosen, of which the least time counts
    return config
