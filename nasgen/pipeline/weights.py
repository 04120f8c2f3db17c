"""Which pretrained weights the run of a config reads: it must go on with those it began with."""

from collections.abc import Mapping
from typing import Any

from nasgen import pretrained
from nasgen.pipeline.config import flat

# keys of configs that name weights, and the parts that are read of them
_READ = {
    "pretrained": ("cells", "macro"),
    "cells": ("cells",),
    "weights": ("cells",),
    "accuracy": ("accuracy",),
}


def hashes(config: Mapping[str, Any]) -> dict[str, str]:
    """`NAME/PART` to the sha256 of all weights that the config names and its run reads."""
    parts = []
    for key, value in flat(config).items():
        kinds = _READ.keys() & key.split(".")
        parts += [(value, part) for kind in kinds for part in _READ[kind] if isinstance(value, str)]
    macros = [name for name, part in parts if part == "macro" and pretrained.is_there(name, part)]
    parts += [(own, "accuracy") for own in map(pretrained.accuracy_of, macros) if own is not None]
    found = {f"{name}/{part}": pretrained.hash_of(name, part) for name, part in parts}
    return {name: value for name, value in sorted(found.items()) if value is not None}
