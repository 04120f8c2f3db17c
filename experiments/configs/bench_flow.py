"""Flow matching against maximum likelihood: seconds to the same held-out likelihood.

    python experiments/run.py --config=experiments/configs/bench_flow.py --workdir=runs/bench_flow

About twelve minutes on two CPU cores.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The same field, data, optimiser and batch for both."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_flow"
    config.compilation_cache = False
    config.weights = "open"  # the generator whose latents are learnt
    config.num_cells = 20_000
    config.num_held = 256  # of them, for the likelihood
    config.seconds = 40.0  # of flow matching
    config.patience = 15.0  # likelihood training may take so many times as long
    config.evaluations = 16  # of each, more often in the beginning
    config.solver_steps = 10  # of Heun, in likelihood training
    config.learning_rate = 1e-3
    config.batch_size = 512
    config.model = ConfigDict(dict(width=256, depth=4, context_width=128))
    return config
