"""nasgen: neural networks to order, by two generative levels. See README.md and ARCHITECTURE.md."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The users' doors, imported when asked for: nothing else here needs JAX."""
    if name in ("load_pretrained", "generate"):
        import nasgen.generation as generation

        return getattr(generation, name)
    if name in ("Budget", "Task"):
        import nasgen.types as types

        return getattr(types, name)
    if name == "score":
        from nasgen.scoring import score

        return score
    if name == "search":
        import nasgen.search as search  # callable, see there

        return search
    if name in ("cells", "log_prob"):
        import nasgen.cells as cells

        return cells if name == "cells" else cells.log_prob
    if name in ("create_model", "list_models"):
        import nasgen.published as published

        return getattr(published, name)
    raise AttributeError(f"module 'nasgen' has no attribute {name!r}")
