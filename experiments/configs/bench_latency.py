"""Predicted against measured latency of 50 random networks, from a table of layers' times.

python experiments/run.py --config=experiments/configs/bench_latency.py --workdir=runs/bench_latency
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Batch 1 at 32 x 32; some ten minutes on two CPU cores, most of them compiling."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_latency"
    config.compilation_cache = False  # what compiling costs is part of the table's cost
    config.num_networks = 50  # measured whole, to test the predictor
    config.batch = 1  # images at once

    # What is measured for the predictor.
    config.effort = ConfigDict()
    config.effort.layers = 32  # of each group: kind, with or without a window
    config.effort.networks = 40  # measured whole, for the fit; none of the test
    config.effort.sizes = (32,)  # pixels
    config.effort.max_channels = 64
    return config
