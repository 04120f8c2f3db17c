"""FSD50K of NAS-Bench-360: sounds as 96x101 images, 200 labels, mean average precision.

    python experiments/run.py --config=experiments/configs/nb360_fsd50k.py \\
        --workdir=runs/fsd50k

See `nb360.py`.
"""

from ml_collections import ConfigDict

from experiments.configs import nb360


def get_config() -> ConfigDict:
    """The task under the benchmark's recipe."""
    return nb360.for_task("fsd50k", examples=36_796, batch_size=256)
