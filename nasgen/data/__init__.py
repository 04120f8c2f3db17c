"""Tasks and their inputs. A new built-in task is one file and one line in `DATASETS`."""

import difflib
from typing import Any

from nasgen.data.arrays import from_npz
from nasgen.data.cifar10 import cifar10, cifar10_lossless
from nasgen.data.digits import digits
from nasgen.data.task import Dataset

# name -> load(*, seed, ...) -> Dataset
DATASETS = {
    "digits": digits,
    "npz": from_npz,
    "cifar10": cifar10,
    "cifar10_lossless": cifar10_lossless,
}


def load(name: str, **options: Any) -> Dataset:
    """The data set of that name. Raises ValueError with the valid names for an unknown one."""
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"`name` must be one of {sorted(DATASETS)}; got {name!r}.{hint}")
    return DATASETS[name](**options)
