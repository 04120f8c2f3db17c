"""Plans of the networks of every space: `PLANS[space](architecture, task)`."""

from collections.abc import Callable

from nasgen.networks.plan import Plan
from nasgen.networks.plans import nb101, nb201, transnas
from nasgen.networks.plans import open as open_plans
from nasgen.spaces.open import OPS
from nasgen.types import Architecture, Cell, Task


def _open_plan(architecture: Architecture, task: Task) -> Plan:
    return open_plans.make_plan(architecture, OPS, task)


# In a tabular space the macro level is fixed: an architecture is just a cell.
PLANS: dict[str, Callable[[Architecture | Cell, Task], Plan]] = {
    "open": _open_plan,
    "nb101": nb101.make_plan,
    "nb201": nb201.make_plan,
    "transnas_micro": transnas.make_plan,
}
