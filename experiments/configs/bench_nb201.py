"""NAS-Bench-201: what each method has found after so many queries, three data sets, 20 seeds.

    NASGEN_DATA=FOLDER python experiments/run.py --config=experiments/configs/bench_nb201.py \
        --workdir=runs/bench_nb201

Needs the tables (see `docs/tables.md`) and `pip install -e '.[benchmarks,plots]'`. What each
method asked on a data set is kept: the same command goes on where a run was interrupted.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The config of the published figures."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_tabular"
    config.compilation_cache = True
    config.benchmark = "nb201"
    config.data_sets = ("cifar10", "cifar100", "ImageNet16-120")
    config.pretrained = "nb201"  # the generator of its cells: shipped, or of a pretrain_cells run
    config.methods = (
        "nasgen",
        "surrogate",
        "surrogate_best_first",
        "random",
        "evolution",
        "local_search",
        "hl_evo",
        "proxy_params",
        "proxy_macs",
        "proxy_log_snip_snr",
        "proxy_nwot",
    )
    config.seeds = tuple(range(20))
    config.queries = 192
    config.marks = (1, 5, 10, 20, 50, 100, 192)
    config.nasgen = get_nasgen()
    config.bounds = ConfigDict()
    config.bounds.devices = ("1080ti_1", "pixel3", "raspi4")
    config.bounds.share = 0.3  # of the space is within the bound
    config.bounds.queries = 100
    config.bounds.methods = ("nasgen", "surrogate", "random", "evolution")
    config.plots = True  # the pictures (needs matplotlib)
    return config


def get_nasgen() -> ConfigDict:
    """Settings of nasgen on every table, see `benchmarks/tabular/designer.Settings`."""
    settings = ConfigDict()
    settings.first = 5  # networks that zero-cost scores alone choose
    settings.batch = 5  # networks of a round
    settings.draws = 256  # of the flow, a round
    settings.mutants = 64  # of the best, a round
    settings.sample = 4_096  # cells that the flow is trained on with predicted accuracies
    settings.steps = 40  # of that training, a round
    settings.batch_size = 128
    settings.learning_rate = 3e-3
    return settings
