"""Test examples as pictures in the page: images as PNG, series as lines."""

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from nasgen.report import words
from nasgen.report.page.elements import tag
from nasgen.report.page.run import Run
from nasgen.report.page.training import class_names
from nasgen.types import Task

_SIDE = 96  # pixels of a picture on the page


def example_cards(run: Run) -> str:
    """The examples that were chosen: what each is, and what it was taken for. Empty without any."""
    kept, task = run.predictions, run.task
    if kept is None or task is None or not len(kept["inputs"]):
        return ""
    cards = [_card(kept, place, task) for place in range(len(kept["inputs"]))]
    about = tag("p", _about(task), cls="note")
    return tag("div", about + tag("div", "".join(cards), cls="examples"))


def _about(task: Task) -> str:
    if task.kind == "classification":
        return "The mistakes that the network is surest of, then what it is least sure of."
    if task.is_dense:
        return f"Test {words.examples(task)}: given, true and predicted."
    return f"The test {words.examples(task)} that are missed most."


def _card(kept, place: int, task: Task) -> str:
    given = picture(kept["inputs"][place], task, "given")
    if task.is_dense:
        maps = [(name, kept[name][place]) for name in ("targets", "predictions")]
        low = min(float(np.min(one)) for _, one in maps)
        high = max(float(np.max(one)) for _, one in maps)
        drawn = [_map(one, low, high, name) for name, one in maps]
        return tag("figure", given + "".join(drawn), cls="example dense")
    index = int(kept["chosen"][place])
    target, found = kept["targets"][index], kept["predictions"][index]
    if task.kind == "classification":
        names, sure = class_names(task), float(kept["confidences"][index])
        right = target == found
        said = "recognised" if right else f"taken for {names[found]}"
        text = f"{names[target]}, {said} ({100 * sure:.0f}\N{NO-BREAK SPACE}%)"
        cls = "example" if right else "example wrong"
        return tag("figure", given + tag("figcaption", escape(text)), cls=cls)
    if task.kind == "multi_label":
        names = class_names(task)
        is_so = ", ".join(names[i] for i in np.flatnonzero(target > 0.5)) or "none"
        taken = ", ".join(names[i] for i in np.flatnonzero(found > 0.5)) or "none"
        text = f"has {is_so}; found: {taken}"
    else:
        true, given_out = (np.atleast_1d(one)[:3] for one in (target, found))
        text = f"true {_numbers(true)}, predicted {_numbers(given_out)}"
    return tag("figure", given + tag("figcaption", escape(text)), cls="example wrong")


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{float(value):.3g}" for value in values)


def picture(values: np.ndarray, task: Task, alt: str) -> str:
    """An example, `[height, width, channels]` or `[length, channels]`, raw."""
    if task.is_series:
        return _lines(values)
    shown = values if values.shape[-1] == 3 else values[..., :1]
    return png(_bytes(shown, float(shown.min()), float(shown.max())), alt)


def _map(values: np.ndarray, low: float, high: float, alt: str) -> str:
    """Classes or numbers at each place, the darkest the lowest."""
    values = values.reshape(values.shape[0], -1) if values.ndim == 1 else values
    values = values if values.ndim == 3 else values[..., None]
    return png(_bytes(values[..., :1], low, high), alt)


def _bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    scaled = (values.astype(float) - low) / (high - low if high > low else 1.0)
    return (255 * scaled.clip(0, 1)).round().astype(np.uint8)


def png(pixels: np.ndarray, alt: str) -> str:
    """An image element that holds its picture, one or three channels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="{source}" width="{_SIDE}" height="{_SIDE}" alt="{escape(alt)}">'


def _lines(values: np.ndarray) -> str:
    """A series as a line for each of its first channels."""
    values = values[:, :3].astype(float)
    low, high = values.min(0, keepdims=True), values.max(0, keepdims=True)
    y = 90 - 80 * (values - low) / np.where(high > low, high - low, 1)
    x = np.linspace(2, 158, len(values))
    paths = [
        "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, column, strict=True)) for column in y.T
    ]
    drawn = "".join(f'<path class="line{i}" d="{path}"/>' for i, path in enumerate(paths))
    return (
        f'<svg class="series" viewBox="0 0 160 100" role="img" aria-label="a series">{drawn}</svg>'
    )
