"""DeepSEA of NAS-Bench-360: 1,000 letters of DNA, 36 labels, area under the ROC curve.

    python experiments/run.py --config=experiments/configs/nb360_deepsea.py \\
        --workdir=runs/deepsea

See `nb360.py`.
"""

from ml_collections import ConfigDict

from experiments.configs import nb360


def get_config() -> ConfigDict:
    """The task under the benchmark's recipe."""
    return nb360.for_task("deepsea", examples=71_753, batch_size=256)
