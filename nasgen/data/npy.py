"""The header of an .npy file, read without any of its data."""

import io

import numpy as np

_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_header(file: io.BufferedIOBase, what: str) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and type that an open file promises; what follows it is the data.

    what: how the error calls the file. Raises ValueError for another version of the format."""
    version = np.lib.format.read_magic(file)
    if version not in _READERS:
        raise ValueError(f"{what} is of the format's version {version}")
    shape, _, dtype = _READERS[version](file)
    return shape, dtype
