"""Every zero-cost proxy against the trained accuracies of three tabular benchmarks.

    NASGEN_DATA=FOLDER python experiments/run.py --config=experiments/configs/bench_proxies.py \
        --workdir=runs/bench_proxies

Needs the tables (see `nasgen/benchmarks/tables.py`) and `pip install -e '.[benchmarks,plots]'`.
Scores are kept in chunks: the same command goes on where a run was interrupted.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0  # of the architectures, the weights, the images and the bootstrap
    config.pipeline = "bench_proxies"
    config.compilation_cache = True
    config.proxies = ("all",)  # names among PROXIES, or all
    config.spaces = ("nb201", "nb101", "transnas_micro")
    config.double = False  # passes in float64
    config.chunk = 50  # architectures a file of scores
    config.timed = 4  # architectures on which each proxy is timed alone; 0: none
    config.bootstrap = 1_000  # samples of an interval
    config.plots = True  # the heat map (needs matplotlib)

    # NAS-Bench-201 at its full size: 16 channels, three groups of 5 cells.
    config.nb201 = ConfigDict()
    config.nb201.num = 1_000  # random architectures
    config.nb201.batch = 32  # images of CIFAR-10
    config.nb201.size = 32  # pixels
    config.nb201.channels = 16  # of the first group
    config.nb201.cells = 5  # a group
    config.nb201.num_port = 250  # with published scores of the same proxies; 0 to skip

    # NAS-Bench-101, narrower than its 128 channels, since a full network takes seconds.
    config.nb101 = ConfigDict()
    config.nb101.num = 200
    config.nb101.batch = 32
    config.nb101.size = 16
    config.nb101.channels = 32
    config.nb101.cells = 3

    # TransNAS-Bench-101 micro: the same scores for all seven tasks.
    config.transnas_micro = ConfigDict()
    config.transnas_micro.num = 300
    config.transnas_micro.batch = 32
    config.transnas_micro.size = 64
    config.transnas_micro.channels = 16
    config.transnas_micro.cells = 2
    return config
