"""preprocess.json: what files and raw inputs become before they enter an exported network.

kind                  of prediction, as in `types.KINDS`
input_shape, layout   of a raw image or series
size                  pixels, to which a picture is resized; null for series
channels              "grey", "RGB", or so many numbers a pixel or moment
scale                 a picture's pixels, 0..255, times this are raw; null: pictures will not do
table                 the columns of a table of series, see `data.Dataset`; null: the usual ones
mean, std             a number a channel; what enters is `(raw - mean) / std`
num_classes, class_names   of the logits; names are null where the task has none
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasgen.types import Task

_CHANNELS = {1: "grey", 3: "RGB"}


def form(
    task: Task,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    white: float | None = None,
    table: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The description, JSON-ready. white, table: as in `data.Dataset`.

    Raises ValueError where mean or std are not a finite number a channel, or std is not above 0."""
    *places, channels = task.input_shape
    mean, std = (_a_number_a_channel(*pair, channels) for pair in (("mean", mean), ("std", std)))
    if not (std > 0).all():
        raise ValueError(f"`preprocess['std']` must be above 0; got {std}.")
    images = len(places) == 2
    size = dict(zip(("height", "width"), places, strict=False))
    scaled = images and white is not None and channels in _CHANNELS
    return {
        "kind": task.kind,
        "input_shape": [*places, channels],
        "layout": f"batch, {'height, width' if images else 'length'}, channels",
        "dtype": "float32",
        "size": {**size, "resize": "bilinear with antialiasing"} if images else None,
        "channels": _CHANNELS.get(channels, channels) if images else channels,
        "scale": white / 255 if scaled else None,
        "table": None if table is None else dict(table),
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
