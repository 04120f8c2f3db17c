"""The user's folder of data made by others: what `NASGEN_DATA` names, else `../shared/data` beside
the repository. Nothing of it is copied."""

import os
from pathlib import Path

VARIABLE = "NASGEN_DATA"


def beside_repository(variable: str, name: str) -> Path:
    """The folder that an environment variable names, else `../shared/NAME`; it may be absent."""
    named = os.environ.get(variable)
    return Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / name


def data_folder() -> Path:
    """The folder of data. Raises ValueError, saying which was looked at, where there is none."""
    folder = beside_repository(VARIABLE, "data")
    if not folder.is_dir():
        raise ValueError(
            f"this needs the folder of data; looked at {folder}, which is none: "
            f"set {VARIABLE} to where it is."
        )
    return folder


def data_file(name: str) -> Path:
    """A file of that folder. Raises ValueError where it is missing."""
    file = data_folder() / name
    if not file.is_file():
        raise ValueError(
            f"this needs {name}; {file.parent} has none: set {VARIABLE} to another folder."
        )
    return file
