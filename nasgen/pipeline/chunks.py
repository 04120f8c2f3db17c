"""Learned functions over any number of rows: in chunks of few shapes, so that few are compiled."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nasgen.models import graph_vae
from nasgen.models.graph_vae import VaeConfig
from nasgen.types import CellBatch

_SIZES = (8, 32, 128, 512)  # rows of a compiled call: the least that holds all, or the largest


def encode_all(params, sizes: VaeConfig, nodes, adjacency) -> np.ndarray:
    """Latent means of any number of cells."""
    encode = lambda n, a: graph_vae.encode(params, n, a, config=sizes)[0]  # noqa: E731
    return chunked(encode, nodes, adjacency)


def decode_all(params, sizes: VaeConfig, latents, conditions=None) -> CellBatch:
    """Cells of any number of latents; `conditions` (standardised) are told to the decoder."""
    decode = partial(graph_vae.decode, params, config=sizes)
    return CellBatch(*chunked(decode, latents, *(() if conditions is None else (conditions,))))


def chunked(function: Callable, *arrays: np.ndarray) -> Any:
    """`function` over rows in chunks of one size, the last of them padded; NumPy out."""
    num, parts = len(arrays[0]), []
    size = next((size for size in _SIZES if size >= num), _SIZES[-1])
    for start in range(0, num, size):
        rows = [np.asarray(a)[start : start + size] for a in arrays]
        pad = size - len(rows[0])
        rows = [np.concatenate([r, np.repeat(r[-1:], pad, 0)]) if pad else r for r in rows]
        parts.append(jax.device_get(function(*map(jnp.asarray, rows))))
    return jax.tree.map(lambda *p: np.concatenate(p)[:num], *parts)
