"""Which small skeleton orders cells as the paper's 17-cell skeleton does, and at what cost.

    python experiments/run.py --config=experiments/configs/bench_skeletons.py \
        --workdir=runs/bench_skeletons

Scores are kept in chunks: the same command goes on where a run was interrupted.
"""

from ml_collections import ConfigDict

# name: channels of the first stage, cells a stage, pixels, images. Strides 1, 2, 2; channels
# double from stage to stage; the last convolution is twice as wide as the last stage.
SETUPS = {
    "full": (16, (5, 6, 6), 32, 64),  # 5 cells a stage and two reduction cells between: 17
    "8_cells": (16, (2, 3, 3), 32, 64),
    "8_cells_16px": (16, (2, 3, 3), 16, 32),
    "5_cells": (16, (1, 2, 2), 32, 64),
    "5_cells_batch_32": (16, (1, 2, 2), 32, 32),
    "5_cells_16px": (16, (1, 2, 2), 16, 64),
    "5_cells_16px_batch_32": (16, (1, 2, 2), 16, 32),
    "5_cells_8_channels_16px_batch_32": (8, (1, 2, 2), 16, 32),
    "3_cells": (16, (1, 1, 1), 32, 64),
    "3_cells_16px_batch_32": (16, (1, 1, 1), 16, 32),
    "3_cells_8_channels_32px_batch_32": (8, (1, 1, 1), 32, 32),
    "3_cells_8_channels_16px_batch_32": (8, (1, 1, 1), 16, 32),
    "3_cells_8_channels_16px_batch_16": (8, (1, 1, 1), 16, 16),
}


def get_config() -> ConfigDict:
    """The config of the published table."""
    config = ConfigDict()
    config.seed = 0  # of the cells, the weights and the images
    config.pipeline = "bench_skeletons"
    config.compilation_cache = True
    config.num = 200  # random cells of `open`
    config.num_ceiling = 50  # of them, scored twice in the reference: other weights and images
    config.chunk = 25  # cells a file of scores
    config.images = "natural"  # "natural" (built in) or "cifar10" (needs NASGEN_DATA)
    config.reference = "full"  # the set-up that the others have to agree with
    config.threshold = 0.95  # Spearman that every proxy has to reach
    config.bootstrap = 1_000  # samples of an interval
    config.setups = ConfigDict()
    for name, (channels, repeats, size, batch) in SETUPS.items():
        config.setups[name] = ConfigDict(
            dict(
                channels=(channels, 2 * channels, 4 * channels),
                strides=(1, 2, 2),
                repeats=repeats,
                final_width=8 * channels,
                size=size,
                batch=batch,
            )
        )
    return config
