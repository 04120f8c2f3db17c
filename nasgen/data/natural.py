"""Batches of natural images and series that belong to no data set: what pretraining scores cells
and networks on.

Images are random crops, at random scales, of the two photographs that scikit-learn ships, series
are pink noise (power falls like 1 / frequency); both standardised. Targets are drawn at random,
since a score at initialisation hardly depends on them.
"""

from functools import cache

import numpy as np
from jaxtyping import Array, Float, Key, Num
from sklearn.datasets import load_sample_images

from nasgen.keys import generator
from nasgen.types import KINDS, Task


@cache
def _photographs() -> tuple[np.ndarray, ...]:
    return tuple(image.astype(np.float32) / 255 for image in load_sample_images().images)


def natural_batch(
    key: Key[Array, ""], num: int, task: Task
) -> tuple[Float[np.ndarray, "num *places channels"], Num[np.ndarray, "num *target"]]:
    """`num` images (grey is the mean of the colours) or series of the task's shape, and random
    targets of its kind."""
    rng = generator(key)
    x = _series(rng, num, *task.input_shape) if task.is_series else _images(rng, num, task)
    axes = tuple(range(x.ndim - 1))
    x = (x - x.mean(axes)) / (x.std(axes) + 1e-6)
    return x.astype(np.float32), _targets(rng, num, task)


def _targets(rng: np.random.Generator, num: int, task: Task) -> np.ndarray:
    shape = (num, *(task.input_shape[:-1] if task.is_dense else ()))
    dtype, outputs = KINDS[task.kind].targets, task.num_classes
    if KINDS[task.kind].loss == "cross_entropy":
        return rng.integers(0, outputs, shape).astype(dtype)
    if KINDS[task.kind].loss == "binary_cross_entropy":
        return rng.integers(0, 2, (*shape, outputs)).astype(dtype)
    return rng.standard_normal((*shape, outputs)).astype(dtype)


def _series(rng: np.random.Generator, num: int, length: int, channels: int) -> np.ndarray:
    waves = rng.standard_normal((2, num, length // 2 + 1, channels))
    frequencies = np.maximum(np.arange(length // 2 + 1), 1)[:, None]
    return np.fft.irfft((waves[0] + 1j * waves[1]) / np.sqrt(frequencies), length, axis=1)


def _images(rng: np.random.Generator, num: int, task: Task) -> np.ndarray:
    images = np.stack([_crop(rng, *task.sides) for _ in range(num)])
    if task.channels == 3:
        return images
    return np.repeat(images.mean(-1, keepdims=True), task.channels, axis=-1)


def _crop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    photograph = _photographs()[rng.integers(2)]
    most = min(photograph.shape[0] // height, photograph.shape[1] // width, 8)
    step = int(rng.integers(1, max(most, 1) + 1))  # pixels of the photograph per pixel of the crop
    rows, columns = height * step, width * step
    top = rng.integers(0, photograph.shape[0] - rows + 1)
    left = rng.integers(0, photograph.shape[1] - columns + 1)
    window = photograph[top : top + rows, left : left + columns]
    return window.reshape(height, step, width, step, 3).mean((1, 3))
