"""Networks that others published or made by hand, by name, for any number of classes; untrained.

    nasgen.list_models("hgen_*")
    model = nasgen.create_model("hgen_cifar_1m", num_classes=10)
    variables = init_network(key, model.plan)
    logits = model.module.apply(variables, images)

`hgen_cifar_1m` to `_10` and `hgen_imagenet_450m` to `_10`: what the paper's authors found on CIFAR
with at most 1 M params, and on ImageNet with at most 450 M FLOPs (which are 225 M MACs). The first
of ten has the highest T-CET by their count. hgen.json names the source. Architectures only: nobody
published weights. `resnet20` and `mobilenet_v2`: see `handmade`.
"""

import difflib
import json
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from nasgen.networks import costs
from nasgen.networks.network import Network
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.published import handmade
from nasgen.spaces.formats import architecture_from_json
from nasgen.spaces.macro import broken_rules
from nasgen.spaces.open import SPACE
from nasgen.types import Architecture, Task

_FILE = Path(__file__).with_name("hgen.json")
_THEIRS = "An architecture found by Xiang et al. (ICML 2024), trained by nasgen."


class Model(NamedTuple):
    """A network by name. module: of Linen, `apply(variables, images, train=False) -> logits`.

    task: what it is built for. params, macs: exact, of this task."""

    name: str
    module: Network
    plan: Plan
    architecture: Architecture
    task: Task
    params: int
    macs: int


def list_models(pattern: str = "*") -> list[str]:
    """The names that match a pattern, as of file names: `hgen_*`."""
    names = (*_stored()["networks"], *handmade.MODELS)
    return [name for name in names if fnmatchcase(name, pattern)]


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    input_shape: Sequence[int] | None = None,
) -> Model:
    """The network of that name, by default for the task it was published for.

    input_shape: height, width, channels; of series length, channels. Raises ValueError for an
    unknown name, with the nearest, and for images that are too small to be halved as often as the
    network does."""
    task = task_of(name)
    if num_classes is not None:
        if num_classes < 2:
            raise ValueError(f"`num_classes` must be at least 2; got {num_classes}.")
        task = task._replace(num_classes=num_classes)
    if input_shape is not None:
        task = task._replace(input_shape=_shape(input_shape))
    architecture = architecture_of(name)
    size = -(-task.size // task.stem_stride)
    if broken_rules(architecture.macro, num_clusters=1, size=size):
        halvings = sum(stage.stride == 2 for stage in architecture.macro.stages)
        least = task.stem_stride * 2 ** (halvings - 1) + 1 if halvings else 1
        raise ValueError(
            f"`input_shape` must have a side of at least {least} pixels for {name}; "
            f"got {task.input_shape}."
        )
    plan = make_plan(architecture, SPACE.ops, task)
    counted = costs.count(plan)
    return Model(name, Network(plan), plan, architecture, task, counted.params, counted.macs)


def task_of(name: str) -> Task:
    """The task that the network of that name was published for. Raises ValueError as
    `create_model`."""
    _check_name(name)
    if name in handmade.MODELS:
        return handmade.TASK
    stored = _stored()["tasks"][_stored()["networks"][name]["task"]]
    return Task(**{**stored, "input_shape": tuple(stored["input_shape"])})


def architecture_of(name: str) -> Architecture:
    """Its architecture. Raises ValueError as `create_model`."""
    _check_name(name)
    if name in handmade.MODELS:
        return handmade.MODELS[name]
    network, cells = _stored()["networks"][name], _stored()["cells"]
    written = [_cell(cells[index]) for index in network["cells"]]
    return architecture_from_json({**network, "cells": written}, SPACE)


def origin_of(name: str) -> str:
    """Whose network it is, in a sentence, where nasgen trains it. Raises ValueError as
    `create_model`."""
    _check_name(name)
    return handmade.ORIGIN if name in handmade.MODELS else _THEIRS


def _shape(given: Sequence[int]) -> tuple[int, ...]:
    if len(given) not in (2, 3) or not all(isinstance(n, int) and n > 0 for n in given):
        raise ValueError(
            "`input_shape` must be (height, width, channels), of series (length, channels); "
            f"got {given}."
        )
    return tuple(given)


def _check_name(name: str) -> None:
    if name not in list_models():
        near = difflib.get_close_matches(name, list_models(), n=1, cutoff=0)
        raise ValueError(
            f"`name` must be one of `list_models()`; got {name!r}, the nearest is {near[0]!r}."
        )


def _cell(text: str) -> dict[str, Any]:
    """`conv/3 mbconv_2/1 | 01 12 23` as `formats` has cells: ops with kernels, and edges."""
    ops, edges = text.split(" | ")
    nodes = [re.fullmatch(r"(\w+)/(\d)", op).groups() for op in ops.split()]
    inner = [{"op": kind, "kernel": int(kernel)} for kind, kernel in nodes]
    pairs = [[int(end) for end in edge] for edge in edges.split()]
    return {"nodes": [{"op": "input"}, *inner, {"op": "output"}], "edges": pairs}


@cache
def _stored() -> dict[str, Any]:
    return json.loads(_FILE.read_text(encoding="utf-8"))
