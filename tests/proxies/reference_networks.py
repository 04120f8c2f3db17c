"""The eight small networks of the PyTorch reference (`golden_scores.npz`), as nasgen reads them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nasgen.networks.padding import Weights
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.spaces import SPACES, formats
from nasgen.types import Task

OPEN = SPACES["open"]


class Reference(NamedTuple):
    """One network: its weights, the batch that all share, and the reference's record of it."""

    plan: Plan
    weights: list[Weights]
    images: np.ndarray
    labels: np.ndarray
    record: dict[str, Any]


def load(folder: Path, index: int) -> Reference:
    """Network `index` of the file in `folder`."""
    with np.load(folder / "golden_scores.npz") as file:
        arrays = dict(file)
    record = json.loads(bytes(arrays["networks"]).decode())[index]
    architecture = formats.architecture_from_json(record["architecture"], OPEN)
    plan = make_plan(architecture, OPEN.ops, Task("golden", (16, 16, 3), 10))
    numbers = iter(range(len(record["layers"])))
    weights = list(_weights(plan, arrays, index, numbers))
    assert next(numbers, None) is None  # as many layers, in the same order
    return Reference(plan, weights, arrays["x_nhwc"], arrays["y"], record)


def _weights(plan: Plan, arrays, index: int, numbers: Iterator[int]) -> Iterator[Weights]:
    for step in plan.steps:
        if not step.layer.has_kernel:
            yield {}
            continue
        name = f"{index}/{next(numbers)}"
        kernel = from_torch(step.layer.kind, arrays[f"{name}/weight"])
        yield {"kernel": kernel} | ({"bias": arrays[f"{name}/bias"]} if step.layer.bias else {})


def from_torch(kind: str, kernel: np.ndarray) -> np.ndarray:
    """OIHW to HWIO, a depthwise O1HW to HWO, a linear OI to IO."""
    if kind == "linear":
        return kernel.T
    if kind == "depthwise":
        return kernel[:, 0].transpose(1, 2, 0)
    return kernel.transpose(2, 3, 1, 0)
