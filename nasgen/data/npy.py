"""Arrays from files: the header of an .npy file, read without any of its data, and what an array
must be."""

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


def checked_array(
    array: object, name: str, shape: tuple[int | None, ...], *, kinds: str = "iuf"
) -> np.ndarray:
    """The array itself. Raises ValueError where it is none of numbers of that shape (None: any
    length but 0). kinds: of NumPy's types."""
    wanted = ", ".join("any" if side is None else str(side) for side in shape)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
        what = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"`path` {name} must be numbers of shape ({wanted}); got {what}.")
    fits = len(array.shape) == len(shape) and all(
        side and expected in (None, side) for side, expected in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"`path` {name} must be of shape ({wanted}); got {array.shape}.")
    return array
