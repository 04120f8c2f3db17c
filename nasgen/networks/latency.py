"""Times of layers on this device, in milliseconds: a table, measured once and kept as JSON.

A layer's time is that of its compiled inference program (sum, ReLU, linear map, norm with running
statistics) inside a longer program: what one more copy of it adds to a chain of copies. So the
dispatch of a program, which costs more than most layers, drops out; the little that links copies
is measured in a chain of nothing else, and taken off. One entry a *signature*: the layer and its
input's size in pixels. `latency_model` predicts whole networks from it.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nasgen.networks.network import Network, draw_weights, init_network, linear_part, norm_part
from nasgen.networks.plan import Layer, Plan, Step
from nasgen.processes import cpu_count

Signature = tuple[Layer, tuple[int, int]]


class Table(NamedTuple):
    """Measured times of layers.

    device: its name. batch: examples at once. link: ms of what links copies, taken off each layer.
    layers: ms of each signature. seconds: wall time that measuring them all took.
    """

    device: str
    batch: int
    link: float
    layers: dict[Signature, float]
    seconds: float


def device_name() -> str:
    """The device that JAX runs on; a CPU by its model and its number of cores."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    return f"{_processor()} x {cpu_count()}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line.partition(":")[2] for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0].strip() if names else "cpu"


def live_steps(plan: Plan) -> list[Step]:
    """The steps that the logits depend on, in order; XLA drops the others."""
    needed, steps = {len(plan.steps)}, []
    for value in range(len(plan.steps), 0, -1):
        if value in needed:
            step = plan.steps[value - 1]
            steps.append(step)
            needed.update(step.inputs)
    return steps[::-1]


def signature(step: Step) -> Signature:
    """What a step's time is looked up by."""
    return step.layer, step.in_size


# ---- measuring ----------------------------------------------------------------------------------


def median_ms(
    function: Callable[[], object], *, repeats: int = 15, seconds: float = 0.01, rounds: int = 3
) -> float:
    """Wall time of a call in ms: the median of at least `repeats` calls and `seconds`, in the
    least disturbed of `rounds` such rounds. Results are waited for; two calls go before."""
    for _ in range(2):
        jax.block_until_ready(function())
    return 1e3 * min(_median(function, repeats, seconds) for _ in range(rounds))


def _median(function: Callable[[], object], repeats: int, seconds: float) -> float:
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < repeats or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - before)
    return float(np.median(times))


def measure_network(
    plan: Plan, *, batch: int = 1, repeats: int = 15, seconds: float = 0.1
) -> float:
    """Median ms of the whole network's jitted inference; compiles it, which takes seconds."""
    variables = init_network(jax.random.key(0), plan)
    images = _normal((batch, *plan.input_shape))
    network = Network(plan)
    program = jax.jit(lambda v, x: network.apply(v, x, train=False)).lower(variables, images)
    run = program.compile()
    call = lambda: run(variables, images)  # noqa: E731
    return median_ms(call, repeats=repeats, seconds=seconds, rounds=5)


def measure_table(
    signatures: Iterable[Signature],
    *,
    batch: int = 1,
    repeats: int = 15,
    on_measured: Callable[[int], None] = lambda done: None,
) -> Table:
    """The table of the given layers: two compiles each, about a second in all."""
    started = time.perf_counter()
    link = _per_copy(Layer("identity", 1, 1), (1, 1), batch, repeats)
    layers: dict[Signature, float] = {}
    for layer, size in signatures:
        if (layer, size) not in layers:
            own = _per_copy(layer, size, batch, repeats) - link
            layers[layer, size] = max(own, _FLOOR)
            on_measured(len(layers))
    return Table(device_name(), batch, link, layers, time.perf_counter() - started)


_COPIES = (2, 8)  # of a layer in the two programs that time it
_FLOOR = 2e-4  # ms: no layer is free


def _normal(shape: tuple[int, ...]) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))


def _per_copy(layer: Layer, size: tuple[int, int], batch: int, repeats: int) -> float:
    """ms that one more copy of a layer, and of the link before it, adds to a chain of them."""
    few, many = (_chain_ms(layer, size, batch, repeats, copies) for copies in _COPIES)
    return (many - few) / (_COPIES[1] - _COPIES[0])


def _chain_ms(layer: Layer, size, batch: int, repeats: int, copies: int) -> float:
    """ms of a program of `copies` layers, each with weights of its own, on the same input plus a
    number that links it to the layer before: they run one after the other. The number comes of a
    dot product, since XLA fuses nothing with that."""
    rng = np.random.default_rng(0)
    images = _normal((batch, *size, layer.in_channels))
    weights = [jax.device_put(draw_weights(rng, layer)) for _ in range(copies)]
    shape = (layer.out_channels,) if layer.norm != "none" else (0,)
    stats = [(jnp.zeros(shape), jnp.ones(shape)) for _ in range(copies)]
    small = jnp.full((layer.out_channels,), 1e-3)

    def chain(x, small, weights, stats):
        results, last = [], jnp.float32(0)
        for own, (mean, variance) in zip(weights, stats, strict=True):
            y = x + last
            y = jax.nn.relu(y) if layer.relu else y
            y = linear_part(layer, own, y)
            y = y if layer.norm == "none" else norm_part(layer, own, y, mean, variance)
            results.append(y)
            last = y.reshape(-1)[: layer.out_channels] @ small
        return results

    run = jax.jit(chain).lower(images, small, weights, stats).compile()
    return median_ms(lambda: run(images, small, weights, stats), repeats=repeats)


# ---- JSON ---------------------------------------------------------------------------------------


def table_to_json(table: Table) -> dict[str, Any]:
    """The table as plain values; `table_from_json` reads it back."""
    rows = [
        {"layer": layer._asdict(), "size": list(size), "ms": ms}
        for (layer, size), ms in table.layers.items()
    ]
    return {**table._asdict(), "layers": rows}


def _layer(fields: dict[str, Any]) -> Layer:
    """From JSON, which knows no tuples."""
    return Layer(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def table_from_json(values: dict[str, Any]) -> Table:
    """The table of `table_to_json`. Raises ValueError where `values` is none."""
    try:
        layers = {
            (_layer(row["layer"]), (int(row["size"][0]), int(row["size"][1]))): float(row["ms"])
            for row in values["layers"]
        }
        return Table(**{**values, "layers": layers})
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"`values` must be a table of latencies; got {error!r}.") from None
