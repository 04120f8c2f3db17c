"""Functions of `Passes` that do not name the passes they read: found by letting them ask."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from nasgen.networks.padding import draw_weights
from nasgen.networks.plan import Plan
from nasgen.proxies.passes import compile_for, run_passes
from nasgen.proxies.proxy import Passes, Proxy


class _Missing(Exception):
    """A pass that was asked for and is not there."""


class _Asked(Passes):
    """Passes that say which one is missing when it is read."""

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if value is None and name in Passes._fields:
            raise _Missing(name)
        return value


def named_by_use(
    function: Callable[[Passes], float],
    plan: Plan,
    images: Float[np.ndarray, "batch *pixels channels"],
    targets: Num[np.ndarray, "batch *target"],
) -> Proxy:
    """The proxy of a function that reads the same passes of every network: it is called on this
    one, again with one pass more each time it misses one."""
    weights, needs = draw_weights(np.random.default_rng(0), plan), ()
    while True:
        compile_for([plan], needs, len(images))
        try:
            function(_Asked(*run_passes(plan, weights, images, targets, needs)))
        except _Missing as missing:
            needs = (*needs, *missing.args)
        else:
            return Proxy(needs, function)
