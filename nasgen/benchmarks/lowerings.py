"""Times of `networks/ops` in XLA's native form and as nasgen lowers it on this backend.

Every operation over a grid of kernels, strides, dilations and shapes, forward and backward (the
gradients by all arguments from that by the output), each a compiled program. Native and
chosen take turns, and the least of several times counts. Writes results.json and a table,
`lowerings.md`.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nasgen.networks import ops
from nasgen.pipeline.config import COMMON, UserError, check, whole, wholes
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.training.progress import progress

RULES = {
    **COMMON,
    "batch": whole(1, 4096),
    "sizes": wholes(1, 512),
    "channels": wholes(1, 4096),
    "rounds": whole(1, 1000),
}


class Case(NamedTuple):
    """An operation `function(lowering, *arrays)` on arrays of some shapes."""

    name: str
    function: Callable
    shapes: tuple[tuple[int, ...], ...]


def norm_relu(x, *, lowering: str):
    """Batch norm with batch statistics, then ReLU."""
    return jax.nn.relu(ops.normalise(x, *ops.moments(x, lowering=lowering)))


def cases(batch: int, size: int, channels: int) -> Iterator[Case]:
    """Every operation on `[batch, size, size, channels]`."""
    x = (batch, size, size, channels)
    for kernel, stride, dilation in itertools.product((1, 3, 5), (1, 2), (1, 2)):
        if kernel == 1 and dilation == 2:
            continue
        options = dict(stride=stride, dilation=dilation)
        name = f"depthwise/kernel {kernel}/stride {stride}/dilation {dilation}"
        yield Case(name, _with(ops.depthwise, **options), (x, (kernel, kernel, channels)))
    for kernel, stride in itertools.product((3, 5), (1, 2)):
        function = _with(ops.average_pool, kernel=kernel, stride=stride)
        yield Case(f"pool/kernel {kernel}/stride {stride}", function, (x,))
    for kernel, stride in itertools.product((1, 3), (1, 2)):
        shapes = x, (kernel, kernel, channels, channels)
        function = _with(ops.convolution, stride=stride)
        yield Case(f"convolution/kernel {kernel}/stride {stride}", function, shapes)
    yield Case("batch norm with ReLU", _with(norm_relu), (x,))


def _with(function: Callable, **options) -> Callable:
    return lambda lowering, *arrays: function(*arrays, lowering=lowering, **options)


def programs(case: Case, lowering: str) -> tuple[Callable, Callable]:
    """Forward, of the arrays, and backward, of the output's gradient and the arrays; jitted."""

    def forward(*arrays):
        return case.function(lowering, *arrays)

    def backward(g, *arrays):
        return jax.vjp(forward, *arrays)[1](g)

    return jax.jit(forward), jax.jit(backward)


def measure(case: Case, rng: np.random.Generator, rounds: int) -> dict[str, float]:
    """Least ms of `native` and `chosen`, forward and backward."""
    arrays = [jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in case.shapes]
    timed, given = {}, {}
    for label, lowering in (("native", "native"), ("chosen", "auto")):
        forward, backward = programs(case, lowering)
        g = jnp.asarray(rng.standard_normal(jax.eval_shape(forward, *arrays).shape, np.float32))
        given |= {f"forward/{label}": arrays, f"backward/{label}": [g, *arrays]}
        timed[f"forward/{label}"] = forward.lower(*arrays).compile()
        timed[f"backward/{label}"] = backward.lower(g, *arrays).compile()
    least = dict.fromkeys(timed, float("inf"))
    for turn in range(rounds + 1):
        for name, program in timed.items():
            started = time.perf_counter()
            jax.block_until_ready(program(*given[name]))
            seconds = time.perf_counter() - started
            if turn:  # the first run of a program also touches its memory for the first time
                least[name] = min(least[name], 1e3 * seconds)
    return least


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Measures the grid. Raises UserError for a config that is off."""
    check(config, RULES)
    if len(config.sizes) != len(config.channels):
        raise UserError("`config.channels` must be as many as `config.sizes`.")
    pairs = list(zip(config.sizes, config.channels, strict=True))
    grid = [(pair, case) for pair in pairs for case in cases(config.batch, *pair)]
    rng, rows = np.random.default_rng(config.seed), []
    with progress(len(grid), label="lowerings") as report:
        for (size, channels), case in grid:
            rows.append((case.name, size, channels, measure(case, rng, config.rounds)))
            report(len(rows), case.name)
    (workdir.path / "lowerings.md").write_text(table(rows))
    figures = {
        f"{name}/{size}x{size}x{channels}/{way}": {
            "native_ms": times[f"{way}/native"],
            "chosen_ms": times[f"{way}/chosen"],
        }
        for name, size, channels, times in rows
        for way in ("forward", "backward")
    }
    speedups = [f["native_ms"] / f["chosen_ms"] for f in figures.values()]
    write_results(
        workdir,
        {"least_speedup": min(speedups), "median_speedup": float(np.median(speedups))} | figures,
    )


def table(rows: list[tuple[str, int, int, dict[str, float]]]) -> str:
    """The figures as Markdown, in milliseconds."""
    lines = [
        "| operation | size | channels | forward native | chosen | backward native | chosen |",
        "|---|---|---|---|---|---|---|",
    ]
    ways = ("forward/native", "forward/chosen", "backward/native", "backward/chosen")
    for name, size, channels, times in rows:
        numbers = " | ".join(f"{times[way]:.2f}" for way in ways)
        words = name.replace("/", ", ")
        lines.append(f"| {words} | {size} x {size} | {channels} | {numbers} |")
    return "\n".join(lines) + "\n"
