"""The form of every operation that this backend runs, against the other (five minutes on a CPU).

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
    config.rounds = 5  # turns of both forms, of which the least time counts
    config.calls = 1  # in a row; some 100 where a call takes microseconds, as on a GPU
    return config
