"""Where the time of a training step goes: a plan's layers cut into parts, each timed alone.

A part is a layer that does one thing: ReLU, a linear map or pooling, or batch norm. It runs forward
and backward, the gradients by its input and its weights from that by its output. Alone it reads and
writes memory that a whole network may not: XLA joins a norm with the next ReLU, and needs no
gradient of the images. So the parts' sum is no measurement of the whole; it says which kinds of
layers take the time.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from nasgen.networks import ops
from nasgen.networks.latency import Signature
from nasgen.networks.network import draw_weights, linear_part, norm_part
from nasgen.networks.plan import Layer, Plan
from nasgen.report.card import table


def parts_of(plan: Plan) -> dict[Signature, int]:
    """The parts of a plan's layers, and how often each occurs. Sums of values are none."""
    found: Counter[Signature] = Counter()
    for step in plan.steps:
        layer, before, after = step.layer, step.layer.in_channels, step.layer.out_channels
        if layer.relu:
            found[Layer("identity", before, before, relu=True), step.in_size] += 1
        if layer.kind != "identity":
            found[layer._replace(relu=False, norm="none"), step.in_size] += 1
        if layer.norm != "none":
            found[Layer("identity", after, after, norm=layer.norm), step.out_size] += 1
    return dict(found)


def kind_of(layer: Layer) -> str:
    """What a part is called in the table."""
    if layer.relu:
        return "ReLU"
    if layer.norm != "none":
        return "batch norm"
    if layer.kind == "linear":
        return layer.kind
    return f"{layer.kind.replace('_', ' ')} {layer.kernel}x{layer.kernel}"


def programs(parts: Sequence[Signature], batch: int) -> list[Callable[[], object]]:
    """A compiled program of each part, on noise."""
    rng = np.random.default_rng(0)
    return [_program(rng, layer, size, batch) for layer, size in parts]


def _program(rng: np.random.Generator, layer: Layer, size, batch: int) -> Callable[[], object]:
    weights = jax.device_put(draw_weights(rng, layer))
    x = jnp.asarray(rng.standard_normal((batch, *size, layer.in_channels), np.float32))

    def forward(weights, x):
        x = jax.nn.relu(x) if layer.relu else x
        x = linear_part(layer, weights, x)
        return x if layer.norm == "none" else norm_part(layer, weights, x, *ops.moments(x))

    def both(weights, x, g):
        y, pull = jax.vjp(forward, weights, x)
        return y, pull(g)

    shape = jax.eval_shape(forward, weights, x).shape
    g = jnp.asarray(rng.standard_normal(shape, np.float32))
    run = jax.jit(both).lower(weights, x, g).compile()
    return lambda: jax.block_until_ready(run(weights, x, g))


def by_kind(
    parts: Mapping[Signature, int], seconds: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, float]]:
    """Of each kind how many parts a network has, and their ms by each side, the longest first.
    seconds: of each part once, by side."""
    rows: dict[str, dict[str, float]] = {}
    for index, ((layer, _), times) in enumerate(parts.items()):
        row = rows.setdefault(kind_of(layer), {"parts": 0, **dict.fromkeys(seconds, 0.0)})
        row["parts"] += times
        for side, values in seconds.items():
            row[side] += 1e3 * times * values[index]
    first = next(iter(seconds))
    return dict(sorted(rows.items(), key=lambda item: -item[1][first]))


def page(networks: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Markdown: a table for each network of its rows (`by_kind`, and others such as the whole)."""
    pages = []
    for name, rows in networks.items():
        sides = [key for key in next(iter(rows.values())) if key != "parts"]
        titles = ["", "Parts", *(f"{side}, ms" for side in sides)]
        titles += ["ratio"] if len(sides) == 2 else []
        pages += [
            f"## {name}",
            table(titles, [_row(kind, row, sides) for kind, row in rows.items()]),
        ]
    return "\n\n".join(["# Where the time of a training step goes", *pages]) + "\n"


def _row(kind: str, row: Mapping[str, float], sides: Sequence[str]) -> list[str]:
    cells = [kind, f"{row['parts']}" if "parts" in row else ""]
    cells += [f"{row[side]:.1f}" for side in sides]
    if len(sides) == 2:
        ours, theirs = (row[side] for side in sides)
        cells.append(f"{theirs / ours:.2f}")
    return cells
