"""Cosmic of NAS-Bench-360: pixels of 128x128 images that cosmic rays hit, area under the ROC curve.

    python experiments/run.py --config=experiments/configs/nb360_cosmic.py \\
        --workdir=runs/cosmic

See `nb360.py`.
"""

from ml_collections import ConfigDict

from experiments.configs import nb360


def get_config() -> ConfigDict:
    """The task under the benchmark's recipe."""
    return nb360.for_maps("cosmic", examples=4_347, batch_size=8)
