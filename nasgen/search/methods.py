"""Every search by its name, with its settings: what a config or a user names."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array, Key

from nasgen.search import evolution, generate, local_search, paper, random_search
from nasgen.search.levels import cells_only, macro_only
from nasgen.search.problem import Problem
from nasgen.search.state import SearchState


class Method(NamedTuple):
    """step: see `state`. settings: its own, with defaults.
    problem: `(key, problem) -> problem`, what the method makes of the problem it is given."""

    step: Callable[..., SearchState]
    settings: Any
    problem: Callable[[Key[Array, ""], Problem], Problem] | None = None


METHODS = {
    "generate": Method(generate.step, generate.Generate()),
    "paper": Method(paper.step, paper.Paper()),
    "random": Method(random_search.step, random_search.Random()),
    "evolution": Method(evolution.step, evolution.Evolution()),
    "local_search": Method(local_search.step, local_search.LocalSearch()),
    "cells_only": Method(generate.step, generate.Generate(), cells_only),
    "macro_only": Method(generate.step, generate.Generate(), macro_only),
}


def configured(name: str, groups: Mapping[str, Mapping[str, Any]]) -> Method:
    """The method of this name with the settings in `groups`, by the name of a method with the same
    step: `cells_only` and `macro_only` take those of `generate`.

    Raises ValueError for an unknown name or setting."""
    if name not in METHODS:
        raise ValueError(f"`method` must be one of {sorted(METHODS)}; got {name!r}.")
    method = METHODS[name]
    for group, values in groups.items():
        if METHODS[group].step is method.step:
            unknown = sorted(values.keys() - set(method.settings._fields))
            if unknown:
                raise ValueError(
                    f"settings of `{group}` must be among {method.settings._fields}; "
                    f"got {unknown[0]!r}."
                )
            method = method._replace(settings=method.settings._replace(**values))
    return method
