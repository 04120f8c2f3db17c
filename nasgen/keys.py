"""Randomness: typed JAX keys split into named children, and NumPy generators drawn from them."""

import jax
import numpy as np
from jaxtyping import Array, Key


def children(key: Key[Array, ""], *names: str) -> dict[str, Key[Array, ""]]:
    """One independent key for each name: `children(key, "init", "data")["init"]`."""
    return dict(zip(names, jax.random.split(key, len(names)), strict=True))


def generator(key: Key[Array, ""]) -> np.random.Generator:
    """A NumPy generator that is a pure function of the key (for host-side graph sampling)."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key), dtype=np.uint32))
