"""Times of `networks/ops` as nasgen lowers it on this backend, and in the form that it does not
choose: XLA's native one on a CPU, shifts and matmuls elsewhere.

Every operation over a grid of kernels, strides, dilations and shapes, forward and backward (the
gradients by all arguments from that by the output), each a compiled program. Both forms take turns,
and the least of several times counts, of `calls` calls in a row: an accelerator does them while the
next ones are on their way. Writes results.json and a table, `lowerings.md`.
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
    "calls": whole(1, 100_000),
}


_MAY_ABORT = ("convolution/kernel 1/stride 2",)


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


def measure(
    case: Case, rng: np.random.Generator, rounds: int, calls: int, other: str
) -> dict[str, float]:
    """Least ms of a call of the `chosen` and the `other` form, forward and backward."""
    arrays = [jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in case.shapes]
    timed, given = {}, {}
    for label, lowering in ((other, other), ("chosen", "auto")):
        forward, backward = programs(case, lowering)
        g = jnp.asarray(rng.standard_normal(jax.eval_shape(forward, *arrays).shape, np.float32))
        given |= {f"forward/{label}": arrays, f"backward/{label}": [g, *arrays]}
        timed[f"forward/{label}"] = forward.lower(*arrays).compile()
        timed[f"backward/{label}"] = backward.lower(g, *arrays).compile()
    least = dict.fromkeys(timed, float("inf"))
    for turn in range(rounds + 1):
        for name, program in timed.items():
            started = time.perf_counter()
            for _ in range(calls):
                last = program(*given[name])
            jax.block_until_ready(last)
            seconds = (time.perf_counter() - started) / calls
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
    other = "native" if ops.uses_shifts() else "shifts"
    if other == "shifts":  # of every other pixel's product XLA may abort: openxla/xla#47381
        grid = [(pair, case) for pair, case in grid if case.name not in _MAY_ABORT]
    with progress(len(grid), label="lowerings") as report:
        for (size, channels), case in grid:
            times = measure(case, rng, config.rounds, config.calls, other)
            rows.append((case.name, size, channels, times))
            report(len(rows), case.name)
    (workdir.path / "lowerings.md").write_text(table(rows, other))
    figures = {
        f"{name}/{size}x{size}x{channels}/{way}": {
            f"{other}_ms": times[f"{way}/{other}"],
            "chosen_ms": times[f"{way}/chosen"],
        }
        for name, size, channels, times in rows
        for way in ("forward", "backward")
    }
    speedups = [f[f"{other}_ms"] / f["chosen_ms"] for f in figures.values()]
    write_results(
        workdir,
        {"least_speedup": min(speedups), "median_speedup": float(np.median(speedups))} | figures,
    )


def table(rows: list[tuple[str, int, int, dict[str, float]]], other: str) -> str:
    """The figures as Markdown, in milliseconds."""
    lines = [
        f"| operation | size | channels | forward {other} | chosen | backward {other} | chosen |",
        "|---|---|---|---|---|---|---|",
    ]
    ways = (f"forward/{other}", "forward/chosen", f"backward/{other}", "backward/chosen")
    for name, size, channels, times in rows:
        numbers = " | ".join(f"{times[way]:.3g}" for way in ways)
        words = name.replace("/", ", ")
        lines.append(f"| {words} | {size} x {size} | {channels} | {numbers} |")
    return "\n".join(lines) + "\n"
