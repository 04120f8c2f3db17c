"""ECG of NAS-Bench-360: 1,000 moments of a heart in four classes, F1.

    python experiments/run.py --config=experiments/configs/nb360_ecg.py \\
        --workdir=runs/ecg

See `nb360.py`.
"""

from ml_collections import ConfigDict

from experiments.configs import nb360


def get_config() -> ConfigDict:
    """The task under the benchmark's recipe."""
    return nb360.for_task("ecg", examples=261_740, batch_size=256)
