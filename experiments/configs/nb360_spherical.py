"""Spherical CIFAR-100 of NAS-Bench-360: 60x60 images of spheres in a hundred classes, accuracy.

    python experiments/run.py --config=experiments/configs/nb360_spherical.py \\
        --workdir=runs/spherical

See `nb360.py`.
"""

from ml_collections import ConfigDict

from experiments.configs import nb360


def get_config() -> ConfigDict:
    """The task under the benchmark's recipe."""
    return nb360.for_task("spherical", examples=40_000, batch_size=128)
