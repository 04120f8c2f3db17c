"""Handwritten digits, 1,797 images of 8x8 in ten classes, as shipped with scikit-learn.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test part).
"""

import numpy as np

from nasgen.data.task import Dataset, Split, standardised, stratified_indices
from nasgen.types import Task

TASK = Task("digits", (8, 8, 1), 10)
WHITE = 16.0  # raw pixels are 0..16


def digits(*, seed: int = 0) -> Dataset:
    """The data set, 60/20/20, split by `seed`."""
    from sklearn.datasets import load_digits  # slow to import, and other data sets do without

    raw = load_digits()
    x = raw.images.astype(np.float32)[..., None]
    y = raw.target.astype(np.int32)
    parts = [Split(x[chosen], y[chosen]) for chosen in stratified_indices(y, seed=seed)]
    return standardised(TASK, *parts, white=WHITE)
