"""preprocess.json: what pictures and raw images become before they enter an exported network.

input_shape, layout   of a raw image; `size` is its pixels, to which a picture is resized
channels              "grey", "RGB", or so many numbers a pixel
scale                 a picture's pixels, 0..255, times this are raw; null: pictures will not do
mean, std             a number a channel; what enters is `(raw - mean) / std`
num_classes, class_names   of the logits; names are null where the task has none
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nasgen.types import Task

_CHANNELS = {1: "grey", 3: "RGB"}


def form(
    task: Task, *, mean: Sequence[float], std: Sequence[float], white: float | None = None
) -> dict[str, Any]:
    """The description, JSON-ready. white: as in `data.Dataset`.

    Raises ValueError where mean or std are not a finite number a channel, or std is not above 0."""
    height, width, channels = task.input_shape
    mean, std = (_a_number_a_channel(*pair, channels) for pair in (("mean", mean), ("std", std)))
    if not (std > 0).all():
        raise ValueError(f"`preprocess['std']` must be above 0; got {std}.")
    return {
        "input_shape": [height, width, channels],
        "layout": "batch, height, width, channels",
        "dtype": "float32",
        "size": {"height": height, "width": width, "resize": "bilinear with antialiasing"},
        "channels": _CHANNELS.get(channels, channels),
        "scale": None if white is None or channels not in _CHANNELS else white / 255,
        "formula": "(raw - mean) / std, where raw = scale * pixels of a picture",
        "mean": mean.tolist(),
        "std": std.tolist(),
        "num_classes": task.num_classes,
        "class_names": list(task.class_names) or None,
    }


def _a_number_a_channel(name: str, values: Sequence[float], channels: int) -> np.ndarray:
    array = np.asarray(values, np.float32)
    if array.shape != (channels,) or not np.isfinite(array).all():
        raise ValueError(
            f"`preprocess[{name!r}]` must be {channels} numbers, one a channel; got {array}."
        )
    return array
