"""Tasks and their inputs. A new built-in task is one file and one line in `DATASETS`.

Nothing here imports JAX, nor anything else that takes seconds before a data set is loaded.
"""

import difflib
import inspect
from typing import Any

from nasgen.data.arrays import from_npz
from nasgen.data.cifar10 import cifar10, cifar10_lossless
from nasgen.data.digits import digits
from nasgen.data.nb360 import found_folder, from_nb360
from nasgen.data.own import from_own, loader_of
from nasgen.data.task import Dataset
from nasgen.data.tfds import from_tfds, prepared_folder

# name -> load(*, seed, ...) -> Dataset
DATASETS = {
    "digits": digits,
    "cifar10": cifar10,
    "cifar10_lossless": cifar10_lossless,
    "npz": from_npz,
    "own": from_own,
    "tfds": from_tfds,
    "nb360": from_nb360,
}


def load(name: str, **options: Any) -> Dataset:
    """The data set of that name. Raises ValueError with the valid names for an unknown one, and
    with the valid options."""
    check(name, **options)
    return DATASETS[name](**options)


def check(name: str, **options: Any) -> None:
    """Raises ValueError where `load` would for the name, an option or the kind of source, without
    loading anything."""
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"`name` must be one of {sorted(DATASETS)}; got {name!r}.{hint}")
    loader, what = DATASETS[name], f"data set {name!r}"
    if loader is from_own and "path" in options:
        loader, what = loader_of(options["path"]), f"what is at {str(options['path'])!r}"
    parameters = inspect.signature(loader).parameters.values()
    known = {one.name: one for one in parameters if one.kind is not one.VAR_KEYWORD}
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise ValueError(f"`{option}` must be given for {what}; got none.")
    for option in options:
        if option not in known:
            valid = ", ".join(one for one in known if one != "seed") or "none"
            raise ValueError(f"`{option}` is no option of {what}; its options are {valid}.")
    if loader is from_tfds:
        prepared_folder(options["dataset"], options.get("path"))
    if loader is from_nb360:
        found_folder(options["dataset"], options.get("path"))
