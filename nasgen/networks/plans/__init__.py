"""From an architecture to a plan, for each space."""

from collections.abc import Callable

from nasgen.networks.plan import Plan
from nasgen.networks.plans import open as open_space
from nasgen.spaces import SPACES
from nasgen.types import Architecture, Task


def _open(architecture: Architecture, task: Task) -> Plan:
    return open_space.make_plan(architecture, SPACES["open"].ops, task)


# `(architecture, task) -> Plan`; an architecture is an `Architecture` or, where the macro level
# is fixed, a `Cell`.
PLANS: dict[str, Callable[..., Plan]] = {"open": _open}
