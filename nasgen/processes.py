"""The processes of one run, each on a machine or on devices of its own: what they tell each other.

All run the same program (SPMD), so all call each of these functions, in the same order. One process
alone tells itself, at no cost, and without importing JAX. `pipeline/distributed` connects them.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
# What JAX says where another process is gone: Gloo's words, and those of its coordination service.
_SIGNS = ("Gloo", "by peer", "coordination service", "heartbeat", "Barrier failed")


class Lost(RuntimeError):
    """Another process of the run has ended, so that this one cannot go on."""


def joined() -> bool:
    """Whether this process was connected to others by `jax.distributed`."""
    jax = sys.modules.get("jax")  # whoever was has imported it
    return jax is not None and jax.distributed.is_initialized()


def count() -> int:
    """How many processes the run has."""
    return sys.modules["jax"].process_count() if joined() else 1


def index() -> int:
    """Which of them this is, from 0."""
    return sys.modules["jax"].process_index() if joined() else 0


def is_first() -> bool:
    """Whether this is the process that writes the run's files."""
    return index() == 0


def cpu_count() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def wait_for_all(what: str) -> None:
    """Returns when every process has come here, to the same `what`. Raises Lost."""
    if count() > 1:
        from jax.experimental import multihost_utils

        _together(multihost_utils.sync_global_devices, what)


def gathered(value: Any) -> list[Any]:
    """The values (JSON) of all processes, in order. Raises Lost."""
    if count() == 1:
        return [value]
    from jax.experimental.multihost_utils import process_allgather

    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = _together(process_allgather, np.array([len(text)], np.int32)).ravel()
    padded = np.zeros(1 << int(sizes.max() - 1).bit_length(), np.uint8)  # few shapes to compile for
    padded[: len(text)] = text
    rows = _together(process_allgather, padded)
    return [json.loads(bytes(row[:size])) for row, size in zip(rows, sizes, strict=True)]


def from_first(function: Callable[[], T], *, error: type[ValueError] = ValueError) -> T:
    """What `function` (to a JSON value) returns in the first process, which alone calls it; tuples
    come to the others as lists. A ValueError or OSError there is an `error` of that text in the
    others. Raises Lost."""
    if count() == 1:
        return function()
    found, failed = None, None
    if is_first():
        try:
            found = function()
        except (ValueError, OSError) as raised:
            failed = raised
    said, failure = gathered([found, failed and str(failed)])[0]
    if failed is not None:
        raise failed
    if failure is not None:
        raise error(failure)
    return found if is_first() else said


def is_lost(error: BaseException) -> bool:
    """Whether an error says that another process is gone."""
    if isinstance(error, Lost):
        return True
    several = isinstance(error, ValueError | RuntimeError) and count() > 1
    return several and any(sign in str(error) for sign in _SIGNS)


def _together(collective: Callable[..., T], value: Any) -> T:
    try:
        return collective(value)
    except (ValueError, RuntimeError) as error:
        if is_lost(error):
            raise Lost(str(error).splitlines()[0]) from None
        raise
