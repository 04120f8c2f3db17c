"""Trees of arrays (params, records) as flat dicts of named arrays, and back with shapes checked."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def flatten(tree: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """`{"a": {"b": x}}` to `{"a/b": x}`; records count as dicts of their fields."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(prefix, path): np.asarray(leaf) for path, leaf in leaves}


def unflatten(template: Any, arrays: Mapping[str, np.ndarray], prefix: str = "") -> Any:
    """The tree with the structure of `template` (anything with shapes and dtypes).

    Raises ValueError for an array that is missing or has another shape."""

    def leaf(path, like):
        name = _name(prefix, path)
        if name not in arrays:
            raise ValueError(f"`{name}` is missing")
        if arrays[name].shape != like.shape:
            raise ValueError(f"`{name}` must have shape {like.shape}; got {arrays[name].shape}")
        return np.asarray(arrays[name]).astype(like.dtype)

    return jax.tree_util.tree_map_with_path(leaf, template)


def _name(prefix: str, path: tuple) -> str:
    keys = [str(getattr(key, "key", getattr(key, "name", key))) for key in path]
    return "/".join([prefix, *keys] if prefix else keys)
