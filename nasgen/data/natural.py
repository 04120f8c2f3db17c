"""Batches of natural images that belong to no task: what pretraining scores cells and networks on.

Random crops, at random scales, of the two photographs that scikit-learn ships, standardised. Labels
are drawn at random, since a score at initialisation hardly depends on them.
"""

from functools import cache

import numpy as np
from jaxtyping import Array, Float, Int, Key
from sklearn.datasets import load_sample_images

from nasgen.keys import generator


@cache
def _photographs() -> tuple[np.ndarray, ...]:
    return tuple(image.astype(np.float32) / 255 for image in load_sample_images().images)


def natural_batch(
    key: Key[Array, ""], num: int, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[Float[np.ndarray, "num height width channels"], Int[np.ndarray, " num"]]:
    """`num` images of `input_shape` (grey is the mean of the colours) and random labels."""
    rng = generator(key)
    height, width, channels = input_shape
    images = np.stack([_crop(rng, height, width) for _ in range(num)])
    if channels != 3:
        images = np.repeat(images.mean(-1, keepdims=True), channels, axis=-1)
    images = (images - images.mean((0, 1, 2))) / (images.std((0, 1, 2)) + 1e-6)
    return images.astype(np.float32), rng.integers(0, num_classes, num).astype(np.int32)


def _crop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    photograph = _photographs()[rng.integers(2)]
    most = min(photograph.shape[0] // height, photograph.shape[1] // width, 8)
    step = int(rng.integers(1, max(most, 1) + 1))  # pixels of the photograph per pixel of the crop
    rows, columns = height * step, width * step
    top = rng.integers(0, photograph.shape[0] - rows + 1)
    left = rng.integers(0, photograph.shape[1] - columns + 1)
    window = photograph[top : top + rows, left : left + columns]
    return window.reshape(height, step, width, step, 3).mean((1, 3))
