"""NinaPro of NAS-Bench-360: muscle signals as 52x16 images in 18 gestures, accuracy.

    python experiments/run.py --config=experiments/configs/nb360_ninapro.py \\
        --workdir=runs/ninapro

See `nb360.py`.
"""

from ml_collections import ConfigDict

from experiments.configs import nb360


def get_config() -> ConfigDict:
    """The task under the benchmark's recipe."""
    return nb360.for_task("ninapro", examples=2_638, batch_size=128)
