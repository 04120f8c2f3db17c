"""The model card of an exported network, in Markdown; the words and tables that reports share."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nasgen.report import words
from nasgen.spaces.space import Space
from nasgen.statistics import wilson_interval
from nasgen.types import METRICS, Architecture, Budget, Costs, Task

# beside the figures of the metric, see `score`
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
    "test_examples",
    "training",
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
# fitness -> what it is called
SCORES = {
    "predicted_accuracy": "predicted accuracy, in standard deviations",
    "t_cet": "T-CET",
}
# field of Budget and Costs -> what it is called
COSTS = {
    "params": "Parameters",
    "macs": "MACs (multiply-adds, one {example})",
    "activation_memory": "Activation memory (bytes, one {example})",
}
_ORIGIN = "Designed and trained by nasgen."
_DRAWN = "was measured on {examples} drawn as the training {examples} were; other "
_OTHERS = {
    "images": "cameras, other crops or other scales of the pixels' values may give another one.",
    "series": "instruments, other cuts or other scales of the values may give another one.",
}
_UNCALIBRATED = "Its probabilities were not calibrated."


def model_card(
    card: Mapping[str, Any],
    *,
    architecture: Architecture,
    space: Space,
    task: Task,
    costs: Costs,
) -> str:
    """The card's text. What `card` may hold, all optional:

    budget: a `Budget`. test_METRIC, validation_METRIC, test_examples: see `score`.
    latency_ms_predicted, latency_ms_measured: of one example, and latency_ms_measured_32: of 32 at
    once, on latency_device. hours: of wall time, by what took them. seed. data: where the examples
    come from. chosen: how, where others were trained beside it. origin: whose network it is, where
    nasgen only trained it. training: settings by name. limits: sentences, beside those that every
    card has. no_onnx: why there is no model.onnx.
    Raises ValueError for any other key.
    """
    known = CARD_KEYS | {f"validation_{task.metric}"}
    known |= {f"test_{task.metric}{end}" for end in ("", "_low", "_high")}
    unknown = sorted(set(card) - known)
    if unknown:
        raise ValueError(f"`card` must hold only {sorted(known)}; got {unknown[0]!r}.")
    *places, channels = task.input_shape
    sizes = " x ".join(map(str, places)) + " moments" * task.is_series
    facts = [
        ("Task", f"{plain(task.name)}: {task.kind.replace('_', ' ')}, {words.outputs(task)}"),
        ("Classes", ", ".join(f"{i} {n}" for i, n in enumerate(task.class_names)) or None),
        (
            words.examples(task).capitalize(),
            f"{sizes}, {number(channels)} channel{'s' * (channels != 1)}",
        ),
        ("Data", card.get("data")),
        ("Chosen", card.get("chosen")),
        ("Metric", words.metric(task)),
        (f"Test {words.title(task)}", score(card, "test", task)),
        (f"Validation {words.title(task)}", score(card, "validation", task)),
        ("Seed", card.get("seed")),
        ("Wall time", _hours(card.get("hours") or {})),
    ]
    training = card.get("training") or {}
    parts = [
        f"# A network for {plain(task.name)}",
        f"{card.get('origin', _ORIGIN)} It runs without nasgen: see below.",
        table(("", ""), [(name, plain(value)) for name, value in facts if value is not None]),
        "## Budget and costs",
        budget_table(card.get("budget") or Budget(), costs, card, task),
        f"{costs.layers} convolutions and linear layers, {costs.depth} of them in a row. "
        "FLOPs are twice the MACs.",
        "## The network",
        stages_table(architecture, space, task),
        training and "## Training",
        training and table(("", ""), [(plain(k), plain(v)) for k, v in training.items()]),
        "## How to run it",
        _run(task, card.get("no_onnx")),
        "## Limits",
        "\n".join(f"- {limit}" for limit in (*_limits(task), *card.get("limits", ()))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _limits(task: Task) -> list[str]:
    drawn = _DRAWN.format(examples=words.examples(task)) + _OTHERS[words.examples(task)]
    measured = f"{words.title(task)[0].upper()}{words.title(task)[1:]} {drawn}"
    of_all = [words.knows(task), measured]
    return [*of_all, _UNCALIBRATED] if words.has_probabilities(task) else of_all


_FILES = (
    ("model.py", "the network as source, with a command line"),
    ("predict.py", "{gives}; of {files}"),
    ("weights.safetensors", "its weights; each array is named by its place in the network"),
    (
        "model.stablehlo",
        "raw {examples} to logits as portable StableHLO bytecode, any batch size, weights inside: "
        "`main(platform, {examples})`, platform an int32 (0 CPU, 1 CUDA, 2 TPU), float32",
    ),
    (
        "model.jax_export",
        "the same program for `jax.export.deserialize(bytes).call({examples})`; written where "
        "flatbuffers is installed",
    ),
    (
        "preprocess.json",
        "what {files} become before they enter; `predict.py` does as it says, `model.py`, "
        "StableHLO and ONNX standardise raw {examples} themselves",
    ),
    ("architecture.json", "the architecture; nasgen reads it back"),
)


_ONNX = "the same as an ONNX graph (opset 18), `images` float32 to `logits`, any batch size"


def _hours(hours: Mapping[str, float]) -> str | None:
    parts = [f"{plain(name)} {number(value)} h" for name, value in hours.items()]
    return ", ".join([*parts, f"in all {number(sum(hours.values()))} h"]) if parts else None


def _run(task: Task, no_onnx: str | None) -> str:
    many, sizes = words.examples(task), ", ".join(map(str, task.input_shape))
    series = task.is_series
    fields = dict(examples=many, gives=words.gives(task))
    fields["files"] = "tables and arrays" if series else "pictures and arrays"
    onnx = (
        _ONNX
        if not no_onnx
        else (
            f"{_ONNX}; not written with the rest: {plain(no_onnx)}. "
            "`nasgen.export.add_onnx(FOLDER)` adds it"
        )
    )
    rows = [(name, text.format(**fields)) for name, text in _FILES]
    rows = [(f"`{n}`", text) for n, text in [*rows[:-2], ("model.onnx", onnx), *rows[-2:]]]
    needs = "nothing else" + ("" if series else "; pictures also need `pillow`")
    lines = [
        f"`model.py` needs `jax` and `flax`, {needs}. Raw",
        f"{many} are as they were before training: an array `[number, {sizes}]`.",
        "\n```",
        f"python predict.py {'table.csv series.npy' if series else 'photo.png images.npy'}",
        f"python model.py images.npy{' predictions.npy' if task.is_dense else ''}",
        "```\n\n```python",
        "import model",
        "variables = model.load()",
        f"{words.predictions(task)} = model.predict(images, variables)",
        "logits = model.logits(variables, model.standardise(images))",
        "```\n",
        _meaning(task),
    ]
    text = "\n".join(line.replace("images", many) for line in lines if line)
    return f"{text}\n{table(('File', 'What it is'), rows)}"


def _meaning(task: Task) -> str:
    """What is to be known of logits that are no classes'."""
    if not words.has_probabilities(task):
        return "What are called logits are the numbers themselves, in the units of the targets.\n"
    if task.kind == "multi_label":
        return "A label's probability is `1 / (1 + exp(-logit))`; labels exclude nothing.\n"
    return ""


# ---- pieces -------------------------------------------------------------------------------------


def score(results: Mapping[str, Any], part: str, task: Task) -> str | None:
    """The task's metric on the `test` or the `validation` examples, as `97.5 % (95 % interval 95.5
    to 98.6 %, 360 images)`; None where `results` lack PART_METRIC.

    The interval is from PART_METRIC_low to _high; an accuracy of PART_examples has one of itself.
    """
    name = f"{part}_{task.metric}"
    value, total = results.get(name), results.get(f"{part}_examples")
    if name not in results or not defined(value):
        return None if name not in results else "undefined"
    ends = results.get(f"{name}_low"), results.get(f"{name}_high")
    if ends[0] is None and total and task.metric == "accuracy":
        ends = wilson_interval(value, total)
    if not all(map(defined, ends)) or not total:
        return words.amount(value, task)
    value, low, high = (words.amount(one, task) for one in (value, *ends))
    of = f"{number(total)} {words.examples(task, number=total)}"
    return f"{value} (95 % interval {low.removesuffix(' %')} to {high}, {of})"


def defined(value: float | None) -> bool:
    """Whether it is a figure; JSON has null for what is none."""
    return value is not None and math.isfinite(value)


def tested(results: Mapping[str, Any]) -> str:
    """`Test accuracy 97.5%`, of the one metric that flat results have for the test examples."""
    name = next(name for name in METRICS if f"test_{name}" in results)
    value, one = results[f"test_{name}"], METRICS[name]
    if not defined(value):
        return f"Test {one.title} undefined"
    return f"Test {one.title} {value:.1%}" if one.fraction else f"Test {one.title} {value:.4g}"


def number(value: float) -> str:
    """`1,234,567`, or three digits of a fraction."""
    return f"{value:,}" if isinstance(value, int) or float(value).is_integer() else f"{value:.3g}"


def short(value: float, *, digits: int = 4) -> str:
    """`20 k`, `1.5 M`, to so many digits."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.{digits}g}{unit}"
    return f"{value:.{digits}g}"


def with_interval(results: Mapping[str, Any], name: str, *, digits: int = 2) -> str:
    """`.91 (.88 to .93)` of a figure and its `_low` and `_high`; empty where it is not finite."""
    values = [results.get(f"{name}{end}", math.nan) for end in ("", "_low", "_high")]
    value, low, high = (f"{one:.{digits}f}" for one in values)
    return f"{value} ({low} to {high})" if math.isfinite(values[0]) else ""


def mean_with_interval(
    results: Mapping[str, Any], name: str, *, digits: int = 2, scale: float = 1.0
) -> str:
    """`93.11 (93.09 to 93.12)` of a figure's `/mean`, `/low` and `/high`, times `scale`; without an
    interval the mean alone, and nothing without that."""
    said = [
        f"{scale * results[key]:.{digits}f}"
        for key in (f"{name}/{end}" for end in ("mean", "low", "high"))
        if key in results
    ]
    return f"{said[0]} ({said[1]} to {said[2]})" if len(said) == 3 else "".join(said[:1])


def plain(value: Any) -> str:
    """A value as text that cannot break a Markdown table."""
    return " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, right: int | None = None) -> str:
    """A Markdown table; columns from number `right` on are aligned right."""
    right = len(header) if right is None else right
    rule = ["---" if i < right else "---:" for i in range(len(header))]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def budget_table(budget: Budget, costs: Costs, results: Mapping[str, Any], task: Task) -> str:
    """What was asked and what the network takes; latency where `results` have it."""
    rows, example = [], words.examples(task, number=1)
    for field, title in COSTS.items():
        asked, used = getattr(budget, field), getattr(costs, field)
        share = "" if asked is None else f"{100 * used / asked:.0f} %"
        title = title.format(example=example)
        rows.append((title, "no limit" if asked is None else number(asked), number(used), share))
    rows += _latency_rows(budget.latency_ms, results, task)
    return table(("Cost", "Asked: at most", "Used", "Of the budget"), rows, right=1)


def _latency_rows(
    asked: float | None, results: Mapping[str, Any], task: Task
) -> list[tuple[str, ...]]:
    device, rows = plain(results.get("latency_device", "the device of the run")), []
    one, many = (words.examples(task, number=number) for number in (1, 32))
    for number_of, end in ((f"one {one}", ""), (f"32 {many} at once", "_32")):
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


def stages_table(architecture: Architecture, space: Space, task: Task) -> str:
    """The stages in words."""
    rows, series = [], task.is_series
    stages = architecture.macro.stages
    for index, (stage, cell) in enumerate(zip(stages, architecture.cells, strict=True)):
        kinds = [space.ops[i] for i in cell.ops]
        ops = ", ".join(op_label(op.kind, op.kernel, series=series) for op in kinds)
        edges = len(cell.edges)
        rows.append((index, stage.repeats, stage.channels, stage.stride, ops, edges))
    header = ("Stage", "Cells", "Channels", "Stride", "Ops of its cell", "Edges")
    wide, narrow = (op_label("", kernel, series=series).strip() for kernel in (3, 1))
    around = (
        f"Before them a {wide} convolution to {stages[0].channels} channels, after them a {narrow} "
        f"convolution to {architecture.macro.final_width}, {words.head(task)}."
    )
    return f"{table(header, rows)}\n\n{around}"


def op_label(kind: str, kernel: int, *, series: bool = False) -> str:
    """`mbconv_6 3x3`; on series `mbconv_6 3`."""
    size = str(kernel) if series else f"{kernel}x{kernel}"
    return f"{kind} {size}" if kernel else kind
