"""Where a network's time goes: each layer's compiled programs, timed one after the other.

In one compiled program for the whole network, which `latency` measures, XLA fuses neighbours and
dispatches once, so that the sum is another. These times say which layers are dear. Where JAX's
default device is a processor, scores of the same batch have compiled what they need.
"""

import time

import jax
import numpy as np
from jaxtyping import Float

from nasgen.networks import padding, walks
from nasgen.networks.plan import Plan
from nasgen.networks.programs import Programs, programs_on

_FEWEST, _MOST = 3, 40  # walks; the first one may compile
_UNKNOWN = ("squeeze", "excite")  # kinds of layers that no walk knows


def can_time(plan: Plan) -> bool:
    """Whether every layer has programs."""
    return all(step.layer.kind not in _UNKNOWN for step in plan.steps)


def layer_times(
    plan: Plan, *, batch: int, seconds: float = 2.0, programs: Programs | None = None
) -> Float[np.ndarray, " steps"]:
    """Milliseconds of each step, forward, for so many examples at once: the least of some walks,
    `_FEWEST` to `_MOST` in about so many seconds. What serves several steps, as a sum that they
    read, counts for the first of them. programs: by default those of JAX's default device."""
    programs = programs_on(jax.local_devices()[0]) if programs is None else programs
    rng = np.random.default_rng(0)
    weights = padding.pad_plan(plan, padding.draw_weights(rng, plan))
    images = rng.standard_normal((batch, *plan.input_shape), np.float32)
    images = jax.device_put(padding.pad_images(images))
    found = [_walked(plan, weights, images, programs) for _ in range(_FEWEST)]
    started = time.perf_counter()
    while len(found) < _MOST and time.perf_counter() - started < seconds:
        found.append(_walked(plan, weights, images, programs))
    return np.min(found, 0)


def _walked(plan: Plan, weights, images, programs: Programs) -> Float[np.ndarray, " steps"]:
    """ms of each step in one walk."""
    found, spent = np.zeros(len(plan.steps)), 0.0

    def run(name: str, constants: tuple[int, ...], *arrays):
        nonlocal spent
        started = time.perf_counter()
        result = jax.block_until_ready(programs.run(name, constants, *arrays))
        spent += time.perf_counter() - started
        return result

    def observe(index: int) -> None:
        nonlocal spent
        found[index], spent = 1e3 * spent, 0.0

    walks.walk_forward(plan, weights, images, run, observe=observe)
    return found
