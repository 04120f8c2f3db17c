"""Small compiled programs that any network is run with: what scores many networks without a compile
for each.

A program does one of the `primitives` (ReLU, batch norm, a matmul, a depthwise convolution, ...) on
one array shape; it is compiled once and kept. `walks` strings them together. Widths are rounded up
to buckets (`padding`), so new macro architectures find programs that are there already. On XLA's
CPU backend a bare matmul compiles in 10 ms, an element-wise kernel in 50-100 ms.

They run on the host's processors, whatever JAX's default backend is: each does so little that an
accelerator mostly waits for the next one (`benchmarks/scale` measures both). Where they are asked
to run on a GPU, XLA is told not to time several kernels for each product, which takes ten times as
long as the compile itself. Sums are of full float32 everywhere.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from nasgen.networks.ops import lowered_for
from nasgen.networks.primitives import PRIMITIVES
from nasgen.precision import FULL
from nasgen.processes import cpu_count

MAX_PROGRAMS = 3072  # of some 0.4 MiB each
_OPTIONS = {"xla_gpu_autotune_level": 0}  # which other backends do not read


@cache
def hosts() -> tuple[jax.Device, ...]:
    """The host's processors, as JAX has divided them; its default devices where it was started
    without (`JAX_PLATFORMS=cuda`)."""
    try:
        return tuple(jax.local_devices(backend="cpu"))
    except RuntimeError:
        return tuple(jax.local_devices())


class Signature(NamedTuple):
    """What one program is compiled for: the primitive, its constants, its first array's shape and
    type. A name that begins with `dual_` is the primitive's value and directional derivative."""

    name: str
    shape: tuple[int, ...]
    constants: tuple[int, ...] = ()
    dtype: np.dtype = np.dtype(np.float32)


class Programs:
    """Compiled programs by signature. Beyond `MAX_PROGRAMS`, the one that was asked for longest ago
    is dropped.

    device: where they run, the first of `hosts` if None.
    num_compiled, seconds_compile: since the start of the process (wall seconds).
    """

    def __init__(self, device: jax.Device | None = None):
        self.device = device
        self.num_compiled, self.seconds_compile = 0, 0.0
        self._kept: OrderedDict[Signature, Callable] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, signature: Signature) -> bool:
        return signature in self._kept

    def run(self, name: str, constants: tuple[int, ...], *arrays: Any) -> Any:
        """Runs a primitive on arrays, the first of which has the signature's shape."""
        signature = Signature(name, arrays[0].shape, constants, arrays[0].dtype)
        program = self._kept.get(signature)
        if program is None:
            self.compile([signature])
            program = self._kept[signature]
        return program(*arrays)

    def compile(self, signatures: Iterable[Signature], *, threads: int | None = None) -> int:
        """Compiles what is missing, several at a time (by default one a processor); returns how
        many."""
        asked, missing = dict.fromkeys(signatures), []
        with self._lock:
            for signature in asked:
                if signature in self._kept:
                    self._kept.move_to_end(signature)
                else:
                    missing.append(signature)
        if not missing:
            return 0
        started = time.perf_counter()
        if len(missing) == 1:
            made = [_build(missing[0], self.device)]
        else:
            with ThreadPoolExecutor(threads or cpu_count()) as pool:
                made = list(pool.map(partial(_build, device=self.device), missing))
        with self._lock:
            for signature, program in zip(missing, made, strict=True):
                while len(self._kept) >= MAX_PROGRAMS:
                    self._kept.popitem(last=False)
                self._kept[signature] = program
            self.num_compiled += len(missing)
            self.seconds_compile += time.perf_counter() - started
        return len(missing)


def _bound(signature: Signature) -> tuple[Callable, list[jax.ShapeDtypeStruct]]:
    """A signature's function of arrays alone, and the arrays it takes."""
    name = signature.name.removeprefix("dual_")
    function, shapes = PRIMITIVES[name]
    arguments = [
        jax.ShapeDtypeStruct(a.shape, a.dtype or signature.dtype)
        for a in shapes(signature.shape, *signature.constants)
    ]
    bound = partial(function, *signature.constants)
    if name == signature.name:
        return bound, arguments
    moving = [i for i, a in enumerate(arguments) if jnp.issubdtype(a.dtype, jnp.floating)]

    def dual(*arrays):
        values, tangents = list(arrays[: len(arguments)]), arrays[len(arguments) :]

        def of_moving(*some):
            for i, array in zip(moving, some, strict=True):
                values[i] = array
            return bound(*values)

        return jax.jvp(of_moving, tuple(values[i] for i in moving), tangents)

    return dual, arguments + [arguments[i] for i in moving]


@lru_cache(maxsize=2 * MAX_PROGRAMS)
def result(signature: Signature) -> Any:
    """Shapes and types of what a signature's program returns."""
    function, arguments = _bound(signature)
    with jax.enable_x64(signature.dtype == np.float64):
        return jax.eval_shape(function, *arguments)


def lowered(signature: Signature, device: jax.Device | None = None) -> jax.stages.Lowered:
    """A signature's program before it is compiled, for `device`, by default the first host."""
    function, arguments = _bound(signature)
    device = hosts()[0] if device is None else device
    if device != jax.local_devices()[0]:
        place = SingleDeviceSharding(device)
        arguments = [jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place) for a in arguments]
    with (
        jax.enable_x64(signature.dtype == np.float64),
        jax.default_matmul_precision(FULL),
        lowered_for(device.platform),
    ):
        return jax.jit(function).lower(*arguments)


def _build(signature: Signature, device: jax.Device | None) -> Callable:
    return lowered(signature, device).compile(compiler_options=_OPTIONS)


PROGRAMS = Programs()


@cache
def programs_on(device: jax.Device) -> Programs:
    """The programs of one device of this process: `PROGRAMS` for the first of `hosts`."""
    return PROGRAMS if device == hosts()[0] else Programs(device)
