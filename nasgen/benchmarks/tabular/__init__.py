"""Tabular benchmarks behind one interface: `table.Table`, a data set each, by name.

Tables lie in the folder of the user's data (`data.folder`). Official files are brought to that form
as `docs/tables.md` says.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from nasgen.benchmarks import tables
from nasgen.benchmarks.tabular import nb101, nb201, nb_macro, transnas
from nasgen.benchmarks.tabular.table import Table


class Benchmark(NamedTuple):
    """load: the table of one of `data_sets`. files: that it reads. space: of its cells, None where
    its networks are none. published: how many networks the tables at hand have proxies' scores of,
    by others, on each data set."""

    load: Callable[[str], Table]
    data_sets: Sequence[str]
    files: Sequence[str]
    space: str | None
    published: int


BENCHMARKS = {
    "nb201": Benchmark(
        nb201.load, tuple(nb201.DATA_SETS), (tables.NB201, tables.NB201_LATENCY), "nb201", 725
    ),
    "nb101": Benchmark(
        nb101.load, nb101.DATA_SETS, (tables.NB101, tables.NB101_CURVES), "nb101", 500
    ),
    "nb_macro": Benchmark(nb_macro.load, nb_macro.DATA_SETS, (tables.NB_MACRO,), None, 0),
    "transnas_micro": Benchmark(
        transnas.load, transnas.DATA_SETS, (tables.TRANSNAS,), "transnas_micro", 711
    ),
}
