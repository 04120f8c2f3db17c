"""PSICOV of NAS-Bench-360: distances in proteins, maps of 128x128 from 57 channels, mean absolute
error of those within 8 angstrom.

    python experiments/run.py --config=experiments/configs/nb360_psicov.py \\
        --workdir=runs/psicov

See `nb360.py`.
"""

from ml_collections import ConfigDict

from experiments.configs import nb360


def get_config() -> ConfigDict:
    """The task under the benchmark's recipe."""
    return nb360.for_maps("psicov", examples=3_356, batch_size=8)
