"""Darcy Flow of NAS-Bench-360: pressures of a fluid at 85x85 points, relative L2 error.

    python experiments/run.py --config=experiments/configs/nb360_darcy_flow.py \\
        --workdir=runs/darcy_flow

See `nb360.py`.
"""

from ml_collections import ConfigDict

from experiments.configs import nb360


def get_config() -> ConfigDict:
    """The task under the benchmark's recipe."""
    return nb360.for_maps("darcy_flow", examples=900, batch_size=4)
