"""Full float32 where a backend's default is less: products of float32 arrays, convolutions too, are
of TF32 on GPU and of bfloat16 on TPU, unless one asks for more.

The generators and the scores ask. They are small, and what reads them is exact: a solver's error
bound, a density, the log determinant of a kernel, one score for a network whatever the machine.
Networks are trained in the backend's default; briefly, by the programs of the scores, as these are.
"""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import jax

F = TypeVar("F", bound=Callable)

FULL = "float32"  # as `jax.default_matmul_precision` calls it


def full_float32(function: F) -> F:
    """The function, with full float32 in whatever it traces."""

    @wraps(function)
    def precise(*args, **kwargs):
        with jax.default_matmul_precision(FULL):
            return function(*args, **kwargs)

    return precise
