"""A network's variables as one safetensors file, under flat names.

`{"params": {"stem": {"kernel": ...}}}` is stored as `params/stem/kernel`. The file is the format of
https://github.com/huggingface/safetensors: the header's length, a JSON header, the raw arrays.
"""

import os
from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PyTree
from safetensors import SafetensorError
from safetensors.numpy import load, save


def flat_weights(variables: PyTree) -> dict[str, np.ndarray]:
    """Every array of nested variables as NumPy, under its path joined by `/`."""
    flat = flatten_dict(variables, sep="/")
    return {name: np.ascontiguousarray(array) for name, array in flat.items()}


def write_weights(path: str | os.PathLike, variables: PyTree) -> None:
    """Writes the variables to a safetensors file."""
    Path(path).write_bytes(save(flat_weights(variables)))


def read_weights(path: str | os.PathLike) -> PyTree:
    """The variables that `write_weights` wrote. Raises ValueError where the file is damaged."""
    try:
        return unflatten_dict(load(Path(path).read_bytes()), sep="/")
    except SafetensorError as error:
        raise ValueError(f"`{path}` is damaged or cut short ({error}).") from error
