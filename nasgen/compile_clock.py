"""How long this process has spent compiling, and how often, by JAX's own events.

Counts tracing, lowering and backend compilation of every program, whoever asked for it; what
overlaps in time counts once.
"""

import threading
import time

import jax

_EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


class CompileClock:
    """seconds: wall time in which at least one compilation ran. count: of backend compilations."""

    def __init__(self):
        self.count = 0
        self._spans: list[tuple[float, float]] = []
        self._lock = threading.Lock()
        jax.monitoring.register_event_duration_secs_listener(self._note)

    def _note(self, event: str, seconds: float, **_) -> None:
        if event in _EVENTS:
            now = time.perf_counter()
            with self._lock:
                self.count += event == _EVENTS[-1]
                self._spans.append((now - seconds, now))

    @property
    def seconds(self) -> float:
        """The length of the union of all spans so far."""
        with self._lock:
            merged: list[tuple[float, float]] = []
            for start, stop in sorted(self._spans):
                if merged and start <= merged[-1][1]:
                    merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
                else:
                    merged.append((start, stop))
            self._spans = merged
            return sum(stop - start for start, stop in merged)


CLOCK = CompileClock()
