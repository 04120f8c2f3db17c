"""How fast random networks are scored, against PyTorch in the same run (about five minutes).

    python -m venv torch-env && torch-env/bin/pip install torch==2.13.0 alethiometer==1.1.2
    python experiments/run.py --config=experiments/configs/bench_scoring.py \\
        --workdir=runs/bench_scoring --config.reference_python=torch-env/bin/python
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """SNIP-SNR and layer-wise NWOT of random `open` cells in a skeleton of five."""
    config = ConfigDict()
    config.seed = 0
    config.pipeline = "bench_scoring"
    config.compilation_cache = False  # so that the seconds of the warm-up are those of a first run

    config.num_networks = 20
    config.rounds = 3  # over all networks; of each network the least disturbed counts
    config.batch = 64  # images, of noise
    config.size = 32  # pixels
    config.num_classes = 10
    config.skeleton = ConfigDict()
    config.skeleton.channels = (16, 32, 32, 64, 64)
    config.skeleton.strides = (1, 2, 1, 2, 1)
    config.skeleton.final_width = 128

    # The Python of an environment with the reference in PyTorch; left out, only nasgen is timed.
    config.reference_python = placeholder(str)

    # One network of about 1 G MACs: a JSON list of architectures (by default the paper's CIFAR
    # networks in the folder NASGEN_REFERENCE; skipped where absent), and which of them.
    config.one_gmac = ConfigDict()
    config.one_gmac.path = placeholder(str)
    config.one_gmac.index = 0
    config.one_gmac.num_classes = 100
    return config
