"""Folders of real images, written from what scikit-learn ships: digits and two photographs."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images


def write_digits(folder: Path, *, classes: int = 3, each: int = 10, start: int = 0) -> None:
    """`each` digits of each class, as grey PNG files of 8x8 pixels, 0..255."""
    raw = load_digits()
    for label in range(classes):
        (folder / str(label)).mkdir(parents=True)
        for index in np.flatnonzero(raw.target == label)[start : start + each]:
            pixels = (raw.images[index] * 15).astype(np.uint8)
            Image.fromarray(pixels).save(folder / str(label) / f"{index}.png")


def write_photographs(folder: Path, *, each: int = 8) -> None:
    """Crops of mixed sizes of the photographs: temple as JPEG, flower as PNG; a class each."""
    rng = np.random.default_rng(0)
    for name, photograph, ending in zip(
        ("temple", "flower"), load_sample_images().images, ("jpg", "png"), strict=True
    ):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            height, width = rng.integers(40, 90, 2)
            top, left = rng.integers(0, 300, 2)
            crop = photograph[top : top + height, left : left + width]
            Image.fromarray(crop).save(folder / name / f"{number}.{ending}")
