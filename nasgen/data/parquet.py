"""Tables as Parquet files, by pandas (the extra `benchmarks`)."""

from functools import cache
from pathlib import Path


def pandas():
    """The module. Raises ValueError, in one line, where it or pyarrow is not installed."""
    try:
        import pandas as module
        import pyarrow  # noqa: F401  (what pandas reads Parquet with)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"tables are read and written with {error.name}, which is not installed: "
            "pip install 'nasgen[benchmarks]'."
        ) from None
    return module


@cache
def read(file: Path):
    """The data frame in a file, read once: not to be changed."""
    return pandas().read_parquet(file)
