"""What a million candidates would cost on accelerators: simulated from costs measured here.

    python experiments/run.py --config=experiments/configs/bench_scale.py --workdir=runs/bench_scale

The assumptions are keys of this config. Where this machine has an accelerator, its own times are
measured, and `device_speedup` is not read.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_scale"
    config.compilation_cache = True
    config.pretrained = "open"  # shipped weights, or the folder of a pretrain_macro run

    # What is measured here.
    config.task = ConfigDict(dict(size=32, channels=3, classes=10))
    config.budget = ConfigDict(dict(params=100_000, macs=10_000_000))
    config.block = 1_024  # candidates that are written together
    config.num_scored = 16  # scores that are timed
    config.score_batch = 32  # images of a score
    config.repeats = 3

    # What is assumed.
    config.candidates = 1_000_000
    config.scored_share = 0.01
    config.hosts = (1, 64)
    config.accelerators = 8  # a host
    config.host_cores = 96
    config.device_speedup = 100.0  # of one accelerator over one core here, if there is none here
    config.rounds = 16
    config.best = 1_024  # architectures that each host sends after a round
    config.bytes_per_second = 1e9  # that a host receives
    config.seconds_per_message = 1e-3
    return config
