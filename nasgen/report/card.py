"""The model card of an exported network, in Markdown; the words and tables that reports share."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nasgen.spaces.space import Space
from nasgen.types import Architecture, Budget, Costs, Task

CARD_KEYS = {
    "budget",
    "chosen",
    "data",
    "hours",
    "latency_device",
    "latency_ms_measured",
    "latency_ms_measured_32",
    "latency_ms_predicted",
    "limits",
    "no_onnx",
    "origin",
    "seed",
    "test_accuracy",
    "test_examples",
    "training",
    "validation_accuracy",
}
METHODS = {
    "ours": "nasgen",
    "generate": "nasgen",
    "paper": "HL-Evo (the paper's)",
    "random": "random search",
    "evolution": "regularised evolution",
    "local_search": "local search",
    "cells_only": "cells only",
    "macro_only": "macro only",
}
# field of Budget and Costs -> what it is called
COSTS = {
    "params": "Parameters",
    "macs": "MACs (multiply-adds, one image)",
    "activation_memory": "Activation memory (bytes, one image)",
}
_ORIGIN = "Designed and trained by nasgen."
_LIMITS = (
    "It knows only the classes it was trained on, and gives one of them for any image.",
    "Accuracy was measured on images drawn as the training images were; other cameras, other crops "
    "or other scales of the pixels' values may give another one.",
    "Its probabilities were not calibrated.",
)


def model_card(
    card: Mapping[str, Any],
    *,
    architecture: Architecture,
    space: Space,
    task: Task,
    costs: Costs,
) -> str:
    """The card's text. What `card` may hold, all optional:

    budget: a `Budget`. test_accuracy, validation_accuracy: fractions. test_examples: their number,
    for the 95 % interval. latency_ms_predicted, latency_ms_measured: of one image, and
    latency_ms_measured_32: of 32 at once, on latency_device. hours: of wall time, by what took
    them. seed. data: where the images come from. chosen: how, where others were trained beside it.
    origin: whose network it is, where nasgen only trained it. training: settings by name.
    limits: sentences, beside those that every card has. no_onnx: why there is no model.onnx.
    Raises ValueError for any other key.
    """
    unknown = sorted(set(card) - CARD_KEYS)
    if unknown:
        raise ValueError(f"`card` must hold only {sorted(CARD_KEYS)}; got {unknown[0]!r}.")
    height, width, channels = task.input_shape
    facts = [
        ("Task", f"{plain(task.name)}: {task.kind}, {task.num_classes} classes"),
        ("Classes", ", ".join(f"{i} {n}" for i, n in enumerate(task.class_names)) or None),
        ("Images", f"{height} x {width}, {number(channels)} channel{'s' * (channels != 1)}"),
        ("Data", card.get("data")),
        ("Chosen", card.get("chosen")),
        ("Metric", task.metric),
        ("Test accuracy", accuracy(card.get("test_accuracy"), card.get("test_examples"))),
        ("Validation accuracy", accuracy(card.get("validation_accuracy"))),
        ("Seed", card.get("seed")),
        ("Wall time", _hours(card.get("hours") or {})),
    ]
    training = card.get("training") or {}
    parts = [
        f"# A network for {plain(task.name)}",
        f"{card.get('origin', _ORIGIN)} It runs without nasgen: see below.",
        table(("", ""), [(name, plain(value)) for name, value in facts if value is not None]),
        "## Budget and costs",
        budget_table(card.get("budget") or Budget(), costs, card),
        f"{costs.layers} convolutions and linear layers, {costs.depth} of them in a row. "
        "FLOPs are twice the MACs.",
        "## The network",
        stages_table(architecture, space),
        training and "## Training",
        training and table(("", ""), [(plain(k), plain(v)) for k, v in training.items()]),
        "## How to run it",
        _run(task, card.get("no_onnx")),
        "## Limits",
        "\n".join(f"- {limit}" for limit in (*_LIMITS, *card.get("limits", ()))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_FILES = (
    ("model.py", "the network as source, with a command line"),
    ("predict.py", "classes and probabilities of pictures and arrays, likeliest first"),
    ("weights.safetensors", "its weights; each array is named by its place in the network"),
    (
        "model.stablehlo",
        "raw images to logits as portable StableHLO bytecode, any batch size, weights inside: "
        "`main(platform, images)`, platform an int32 (0 CPU, 1 CUDA, 2 TPU), images float32",
    ),
    (
        "model.jax_export",
        "the same program for `jax.export.deserialize(bytes).call(images)`; written where "
        "flatbuffers is installed",
    ),
    (
        "preprocess.json",
        "what pictures and raw images become before they enter; `predict.py` does as it says, "
        "`model.py`, StableHLO and ONNX standardise raw images themselves",
    ),
    ("architecture.json", "the architecture; nasgen reads it back"),
)


_ONNX = "the same as an ONNX graph (opset 18), `images` float32 to `logits`, any batch size"


def _hours(hours: Mapping[str, float]) -> str | None:
    parts = [f"{plain(name)} {number(value)} h" for name, value in hours.items()]
    return ", ".join([*parts, f"in all {number(sum(hours.values()))} h"]) if parts else None


def _run(task: Task, no_onnx: str | None) -> str:
    height, width, channels = task.input_shape
    onnx = (
        _ONNX
        if not no_onnx
        else (
            f"{_ONNX}; not written with the rest: {plain(no_onnx)}. "
            "`nasgen.export.add_onnx(FOLDER)` adds it"
        )
    )
    rows = [*_FILES[:-2], ("model.onnx", onnx), *_FILES[-2:]]
    files = table(("File", "What it is"), [(f"`{name}`", text) for name, text in rows])
    return f"""`model.py` needs `jax` and `flax`, nothing else; pictures also need `pillow`. Raw
images are as they were before training: an array `[number, {height}, {width}, {channels}]`.

```
python predict.py photo.png images.npy
python model.py images.npy
```

```python
import model
variables = model.load()
classes = model.predict(images, variables)
logits = model.logits(variables, model.standardise(images))
```

{files}"""


# ---- pieces -------------------------------------------------------------------------------------


def wilson_interval(fraction: float, total: int, *, z: float = 1.959964) -> tuple[float, float]:
    """The interval of a fraction of `total` trials, 95 % by default (Wilson, JASA 1927)."""
    centre = fraction + z * z / (2 * total)
    spread = z * math.sqrt(fraction * (1 - fraction) / total + z * z / (4 * total * total))
    low, high = ((centre + sign * spread) / (1 + z * z / total) for sign in (-1, 1))
    return max(low, 0.0), min(high, 1.0)


def accuracy(fraction: float | None, total: int | None = None) -> str | None:
    """`97.5 % (95 % interval 95.5 to 98.6 %, 360 images)`; the interval needs `total`."""
    if fraction is None:
        return None
    text = f"{100 * fraction:.1f} %"
    if not total:
        return text
    low, high = wilson_interval(fraction, total)
    return f"{text} (95 % interval {100 * low:.1f} to {100 * high:.1f} %, {number(total)} images)"


def number(value: float) -> str:
    """`1,234,567`, or three digits of a fraction."""
    return f"{value:,}" if isinstance(value, int) or float(value).is_integer() else f"{value:.3g}"


def with_interval(results: Mapping[str, Any], name: str, *, digits: int = 2) -> str:
    """`.91 (.88 to .93)` of a figure and its `_low` and `_high`; empty where it is not finite."""
    values = [results.get(f"{name}{end}", math.nan) for end in ("", "_low", "_high")]
    value, low, high = (f"{one:.{digits}f}" for one in values)
    return f"{value} ({low} to {high})" if math.isfinite(values[0]) else ""


def plain(value: Any) -> str:
    """A value as text that cannot break a Markdown table."""
    return " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, right: int | None = None) -> str:
    """A Markdown table; columns from number `right` on are aligned right."""
    right = len(header) if right is None else right
    rule = ["---" if i < right else "---:" for i in range(len(header))]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def budget_table(budget: Budget, costs: Costs, results: Mapping[str, Any]) -> str:
    """What was asked and what the network takes; latency where `results` have it."""
    rows = []
    for field, title in COSTS.items():
        asked, used = getattr(budget, field), getattr(costs, field)
        share = "" if asked is None else f"{100 * used / asked:.0f} %"
        rows.append((title, "no limit" if asked is None else number(asked), number(used), share))
    rows += _latency_rows(budget.latency_ms, results)
    return table(("Cost", "Asked: at most", "Used", "Of the budget"), rows, right=1)


def _latency_rows(asked: float | None, results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    device, rows = plain(results.get("latency_device", "the device of the run")), []
    for number_of, end in (("one image", ""), ("32 images at once", "_32")):
        known = {n: results.get(f"latency_ms_{n}{end}") for n in ("predicted", "measured")}
        used = ", ".join(f"{ms:.3g} {n}" for n, ms in known.items() if ms is not None)
        bound = None if end else asked
        share = (
            ""
            if None in (bound, known["predicted"])
            else f"{100 * known['predicted'] / bound:.0f} %"
        )
        limit = "no limit" if bound is None else f"{bound:g}"
        if used:
            rows.append((f"Latency (ms, {number_of}, on {device})", limit, used, share))
    return rows


def stages_table(architecture: Architecture, space: Space) -> str:
    """The stages in words."""
    rows = []
    stages = architecture.macro.stages
    for index, (stage, cell) in enumerate(zip(stages, architecture.cells, strict=True)):
        ops = ", ".join(op_label(space.ops[i].kind, space.ops[i].kernel) for i in cell.ops)
        edges = len(cell.edges)
        rows.append((index, stage.repeats, stage.channels, stage.stride, ops, edges))
    header = ("Stage", "Cells", "Channels", "Stride", "Ops of its cell", "Edges")
    around = (
        f"Before them a 3x3 convolution to {stages[0].channels} channels, after them a 1x1 "
        f"convolution to {architecture.macro.final_width}, the mean over pixels and a linear layer."
    )
    return f"{table(header, rows)}\n\n{around}"


def op_label(kind: str, kernel: int) -> str:
    """`mbconv_6 3x3`."""
    return f"{kind} {kernel}x{kernel}" if kernel else kind
