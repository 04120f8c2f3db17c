"""NAS-Bench-360 (Tu et al., NeurIPS 2022): ten tasks of many fields, from their official files.

A task is a file with `TASK`, the `FOLDER` and `FILES` that it is looked for in, and `load`. The
official splits are kept; each file says what its validation part is, what is read and how, and
where what is measured differs from the benchmark's own evaluation. Nothing of a file is executed.
"""

import difflib
import os
from pathlib import Path
from types import ModuleType

from nasgen.data.nb360 import (
    cifar100,
    cosmic,
    darcy_flow,
    deepsea,
    ecg,
    fsd50k,
    ninapro,
    psicov,
    satellite,
    spherical,
)
from nasgen.data.nb360.files import check_files, folder_of
from nasgen.data.task import Dataset

# name -> its file
NB360: dict[str, ModuleType] = {
    "cifar100": cifar100,
    "spherical": spherical,
    "ninapro": ninapro,
    "fsd50k": fsd50k,
    "darcy_flow": darcy_flow,
    "psicov": psicov,
    "cosmic": cosmic,
    "ecg": ecg,
    "satellite": satellite,
    "deepsea": deepsea,
}


def from_nb360(dataset: str, *, path: str | os.PathLike | None = None, seed: int = 0) -> Dataset:
    """A task of the benchmark by its name, as `darcy_flow`.

    path: the folder of the benchmark's data, or that of the one data set; by default `nb360` in the
    user's folder of data. Raises ValueError, in one line, where a file is missing or will not do.
    """
    return NB360[dataset].load(found_folder(dataset, path), seed=seed)


def found_folder(dataset: str, path: str | os.PathLike | None = None) -> Path:
    """The folder that has the files of a task. Raises ValueError, without reading them, for an
    unknown task and where one is missing, with where to get it."""
    if dataset not in NB360:
        near = difflib.get_close_matches(dataset, NB360, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"`dataset` must be one of {', '.join(NB360)}; got {dataset!r}.{hint}")
    folder = folder_of(NB360[dataset].FOLDER, path)
    check_files(folder, NB360[dataset].FILES, dataset)
    return folder
