"""Satellite of NAS-Bench-360: a year of a pixel of land, 46 moments in 24 classes, accuracy.

    python experiments/run.py --config=experiments/configs/nb360_satellite.py \\
        --workdir=runs/satellite

See `nb360.py`.
"""

from ml_collections import ConfigDict

from experiments.configs import nb360


def get_config() -> ConfigDict:
    """The task under the benchmark's recipe."""
    return nb360.for_task("satellite", examples=800_000, batch_size=4_096)
