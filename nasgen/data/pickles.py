"""Arrays and plain values out of a pickle, of which nothing is executed.

A pickle is a program: it calls what it names. Here a few names of NumPy stand for functions of our
own, which make an array of bytes that they have checked; every other name is refused. So a file
holds dicts, lists, tuples, texts, numbers and arrays, or it is not read. NumPy's own functions are
not among them: what it is told of a type it believes, and then follows pointers.
"""

import io
import math
import os
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nasgen.data.npy import read_header

_CODE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[US]\d{1,6}|O8?)")
_LEAVES = (str, bytes, bytearray, int, float, bool, type(None), np.ndarray)
_NDARRAY = object()  # the class, which only `_reconstruct` is given
# What reading a broken or a hostile file may raise.
_BROKEN = (
    *(pickle.UnpicklingError, ValueError, TypeError, LookupError, EOFError, AttributeError),
    *(ImportError, OverflowError, MemoryError, RecursionError, struct.error),
)


def read_pickle(file: io.BufferedIOBase, name: str) -> Any:
    """What is pickled in an open file. An array of objects comes as a list.

    name: of the file, for the error. Texts of Python 2 are read as Latin-1. Raises ValueError, in
    one line, for anything but arrays and plain values.
    """
    try:
        return _plain(_Unpickler(file, encoding="latin1").load(), {})
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"`path` {name} must hold arrays and plain values: {reason}.") from None


def read_npy(path: str | os.PathLike) -> np.ndarray | list:
    """The array in an .npy file; one of objects is a pickle, and comes as a list.

    Raises ValueError, in one line, where the file will not do.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            shape, dtype = read_header(file, "it")
            if dtype.hasobject:
                return read_pickle(file, path.name)
            promised, held = math.prod(shape) * dtype.itemsize, path.stat().st_size
            if promised > held:
                raise ValueError(f"{shape} takes {promised} bytes; the file has {held}")
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError) as error:
        if str(error).startswith("`path`"):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"`path` {path.name} must be an .npy file: {reason}.") from None


class _Named:
    """A function that a pickle may call. It has nothing that a pickle could set."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[..., Any]):
        self.make = make

    def __call__(self, *arguments: Any) -> Any:
        return self.make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a function has no state")


class _Dtype:
    """The type of an array's elements: a number, a text of fixed length, or any object."""

    __slots__ = ("code", "order")

    def __init__(self, code: str | bytes, align: Any = False, copy: Any = False):
        text = code.decode("ascii") if isinstance(code, bytes) else code
        match = _CODE.fullmatch(text)
        if not match:
            raise ValueError(f"arrays of {text!r} are not read")
        self.code, self.order = match[1], "<"

    def __setstate__(self, state: tuple) -> None:
        order, inner = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(one is not None for one in inner):
            raise ValueError("arrays of compound types are not read")
        self.order = order

    @property
    def holds_objects(self) -> bool:
        return self.code.startswith("O")

    def numpy(self) -> np.dtype:
        return np.dtype(self.order + self.code)


class _Array:
    """An array in the making: `value` is it, or the list of its objects."""

    __slots__ = ("value",)

    def __init__(self, kind: Any = None, *_: Any):
        if kind is not _NDARRAY:
            raise ValueError("only plain arrays are read")
        self.value = None

    def __setstate__(self, state: tuple) -> None:
        shape, dtype, fortran, raw = state[-4:]
        self.value = _filled(raw, dtype, shape, "F" if fortran else "C")


def _filled(raw: Any, dtype: _Dtype, shape: tuple, order: str) -> np.ndarray | list:
    if not isinstance(dtype, _Dtype) or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("an array needs a type and a shape")
    if dtype.holds_objects:
        if not isinstance(raw, list) or len(shape) > 1 or len(raw) != math.prod(shape):
            raise ValueError("objects must be one list")
        return raw
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(raw, bytes | bytearray):
        raise ValueError("the elements of an array must be bytes")
    return np.frombuffer(raw, dtype.numpy()).reshape(shape, order=order)


def _from_buffer(raw: Any, dtype: _Dtype, shape: tuple, order: str) -> _Array:
    array = _Array(_NDARRAY)
    array.value = _filled(raw, dtype, shape, "F" if order == "F" else "C")
    return array


def _scalar(dtype: _Dtype, raw: Any) -> Any:
    value = _filled(raw, dtype, (1,), "C")
    return value[0] if isinstance(value, list) else value[0].item()


def _encoded(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes as {encoding!r} are not read")
    return text.encode("latin1")


_CORES = ("numpy.core", "numpy._core")  # NumPy 1 and 2
_NAMES = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Named(_Dtype),
    ("_codecs", "encode"): _Named(_encoded),  # bytes, by Python 3 in Python 2's protocol
    **{(f"{core}.multiarray", "_reconstruct"): _Named(_Array) for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _Named(_scalar) for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _Named(_from_buffer) for core in _CORES},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise ValueError(f"it names {module}.{name}")
        return _NAMES[module, name]


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """The value with its arrays finished. done: of every object met so far, what became of it."""
    if isinstance(value, _LEAVES):
        return value
    if id(value) not in done:
        done[id(value)] = _made(value, done)
    return done[id(value)]


def _made(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array has no elements")
        return _plain(value.value, done)
    if type(value) is dict:
        return {_plain(key, done): _plain(one, done) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(one, done) for one in value)
    raise ValueError(f"a {type(value).__name__.lstrip('_')} is not read")
