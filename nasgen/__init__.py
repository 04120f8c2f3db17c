"""nasgen: neural networks to order, by two generative levels. See README.md and ARCHITECTURE.md."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`nasgen.score`, imported when asked for: nothing else here needs JAX."""
    if name == "score":
        from nasgen.scoring import score

        return score
    raise AttributeError(f"module 'nasgen' has no attribute {name!r}")
