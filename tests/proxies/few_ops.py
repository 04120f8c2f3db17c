"""Networks of different wiring over few ops, so that few programs serve them all."""

from functools import cache

import jax

from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.spaces import SPACES, graphs
from nasgen.types import Architecture, Cell, MacroArchitecture, Stage, Task

OPEN = SPACES["open"]
_KINDS, _KERNELS = {"conv", "avg_pool", "mbconv_2"}, {1, 3}


@cache
def cells() -> tuple[Cell, ...]:
    """Different cells, some twenty."""
    drawn = graphs.unpack(OPEN.sample(jax.random.key(0), 3_000))
    few = {i for i, op in enumerate(OPEN.ops) if op.kind in _KINDS and op.kernel in _KERNELS}
    return tuple(one for one in dict.fromkeys(drawn) if few.issuperset(one.ops))


def plans(num: int, task: Task, stages: tuple[Stage, ...], *, start: int = 0) -> list[Plan]:
    """`num` networks with these stages, each with cells of its own, from number `start` on."""
    macro, some = MacroArchitecture(stages, 16), iter(cells()[start * len(stages) :])
    networks = [Architecture(macro, tuple(next(some) for _ in stages)) for _ in range(num)]
    return [make_plan(one, OPEN.ops, task) for one in networks]
