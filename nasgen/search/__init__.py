"""Searches: what they may do (`problem`), what they know (`state`), each method, and the loop.

`nasgen.search(...)` is the users' door, which lies in `nasgen/searching.py`: a function of the name
of this package, so the package itself is what can be called.
"""

import sys
from types import ModuleType
from typing import Any


class _Door(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from nasgen.searching import search

        return search(*arguments, **options)


sys.modules[__name__].__class__ = _Door
