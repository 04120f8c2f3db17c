"""How far nasgen scales on this machine: processes, candidates, and memory over a long time.

    python experiments/run.py --config=experiments/configs/bench_scaling.py \\
        --workdir=runs/bench_scaling
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_scaling"
    config.compilation_cache = True
    config.pretrained = "open"  # shipped weights, or the folder of a pretrain_macro run

    config.task = ConfigDict(dict(size=32, channels=3, classes=10))
    config.budget = ConfigDict(dict(params=100_000, macs=10_000_000))
    config.score_batch = 32  # images of a score

    config.processes = (1, 2)  # that score together, a core each
    config.num_scored = 32  # networks
    config.repeats = 3  # of which the least seconds count

    config.candidates = (1_000, 10_000, 100_000, 1_000_000)  # that a search writes and ranks
    config.block = 1_000  # at a time
    config.kept = 1_000  # of the best

    # One process, from a tenth of the way to the end.
    config.soak = ConfigDict(dict(candidates=500, steps=2_000))
    return config
