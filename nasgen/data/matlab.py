"""Arrays out of MATLAB's files: of versions 4 to 7 by SciPy, of version 7.3, which is HDF5, by h5py
(the extra `matlab`). Nothing in such a file is executed."""

import zlib
from pathlib import Path

import numpy as np

_HDF5 = b"\x89HDF\r\n\x1a\n"  # behind a header of 512 bytes, which may be missing


def read_mat(path: Path, name: str, *, first: int, step: int) -> np.ndarray:
    """Of the array `[examples, height, width]` of that name its first examples and, both ways,
    every `step`-th pixel. Of version 7.3 no more than that is read, of others the whole array.

    Raises ValueError, in one line, where the file will not do.
    """
    with path.open("rb") as file:
        head = file.read(520)
    try:
        if head[:8] == _HDF5 or head[512:] == _HDF5:
            return _from_hdf5(path, name, first, step)
        from scipy.io import loadmat

        array = loadmat(path, variable_names=[name]).get(name)
        if array is None:
            raise ValueError(f"it has no {name!r}")
        if array.ndim != 3:
            raise ValueError(f"{name!r} is of shape {array.shape}")
        return array[:first, ::step, ::step].copy()  # lets the rest go
    except (
        *(ValueError, TypeError, LookupError, OSError, EOFError, NotImplementedError),
        *(MemoryError, OverflowError, AttributeError, zlib.error),
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"`path` {path.name} must be MATLAB's: {reason}.") from None


def _from_hdf5(path: Path, name: str, first: int, step: int) -> np.ndarray:
    """There axes stand the other way round: width, height, examples."""
    try:
        import h5py
    except ModuleNotFoundError:
        raise ValueError(
            'it is of version 7.3, which needs h5py, not installed: pip install "nasgen[matlab]"'
        ) from None
    with h5py.File(path, "r") as file:
        if name not in file:
            raise ValueError(f"it has no {name!r}")
        array = file[name]
        if not isinstance(array, h5py.Dataset) or array.ndim != 3:
            raise ValueError(f"{name!r} is no array of three axes")
        return array[::step, ::step, :first].T
