"""The training and what came of it: curves, confusion or errors, and the time of each layer."""

from typing import Any

import numpy as np

from nasgen.networks.costs import step_macs
from nasgen.networks.plan import num_weights
from nasgen.report import words
from nasgen.report.card import short
from nasgen.report.history import series
from nasgen.report.page.elements import (
    STAR,
    Chart,
    amount,
    axis,
    cost_axis,
    grid,
    height_axis,
    look,
)
from nasgen.report.page.run import WINNER, Run
from nasgen.types import METRICS, Task

_POINTS = 600  # of a curve
_SMALL, _LARGE = 12, 60  # classes of a confusion matrix with numbers, and with a matrix at all
_PAIRS = 20  # of classes that are confused most, where there is no matrix


def loss_curve(run: Run) -> Chart | None:
    """The training loss over steps."""
    steps, loss = series(run.history, "train", "loss")
    if not len(steps) or run.task is None:
        return None
    option = _curve(steps, loss, words.loss(run.task), 0)
    option["yAxis"] = cost_axis(words.loss(run.task), loss.tolist(), height_axis)
    return Chart("loss", "Training loss, the mean since the point before.", option, height=300)


def metric_curve(run: Run) -> Chart | None:
    """The validation metric over steps, and the step whose weights are kept."""
    task = run.task
    steps, values = series(run.history, "eval", task.metric) if task else ((), ())
    if not len(steps):
        return None
    percent = METRICS[task.metric].fraction
    values = 100 * values if percent else values
    title = words.title(task) + (", %" if percent else "")
    option = _curve(steps, values, title, 1)
    kept = run.results.get("kept_step") or run.stages.get("deliver", {}).get("kept_step")
    caption = f"Validation {words.title(task)} over steps of the optimiser."
    if kept in steps:
        best = float(values[list(steps).index(kept)])
        star = {"type": "scatter", "data": [[int(kept), best]], **STAR, "z": 5, "silent": True}
        option["series"].append(star)
        unit = " %" if percent else ""
        caption += f" The star: the weights that were kept, {amount(best)}{unit} at step {kept:,}."
    return Chart("validation", caption, option, height=300)


def _curve(steps: np.ndarray, values: np.ndarray, title: str, number: int) -> dict[str, Any]:
    shown = np.unique(np.linspace(0, len(steps) - 1, min(_POINTS, len(steps))).astype(int))
    points = [[int(steps[i]), float(values[i])] for i in shown if np.isfinite(values[i])]
    drawn = {"type": "line", "name": title, "data": points, "showSymbol": len(points) < 40}
    return {
        "grid": grid(top=38),
        "tooltip": {"trigger": "axis"},
        "xAxis": axis("step"),
        "yAxis": height_axis(title, scale=True),
        "series": [drawn | look(number)],
    }


def class_names(task: Task) -> list[str]:
    """Names of the classes, or their numbers."""
    return list(task.class_names) or [str(number) for number in range(task.num_classes)]


def confusion(run: Run) -> Chart | None:
    """Of classes: how often each was taken for each; the most frequent mistakes where there are too
    many for a matrix."""
    kept, task = run.predictions, run.task
    if kept is None or task is None or task.kind != "classification":
        return None
    num = task.num_classes
    counts = np.bincount(num * kept["targets"] + kept["predictions"], minlength=num * num)
    counts = counts.reshape(num, num)
    return _matrix(counts, task) if num <= _LARGE else _confused(counts, task)


def _matrix(counts: np.ndarray, task: Task) -> Chart:
    names, num = class_names(task), len(counts)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    data = [
        {
            "value": [j, i, round(float(shares[i, j]), 4)],
            "tip": [
                f"is {names[i]}, taken for {names[j]}" if i != j else f"{names[i]}, recognised",
                f"{counts[i, j]} of {counts[i].sum()} ({100 * shares[i, j]:.1f} %)",
            ],
            "label": {
                "show": num <= _SMALL and bool(counts[i, j]),
                "formatter": str(counts[i, j]),
                "color": "var(--paper)" if shares[i, j] > 0.5 else "var(--ink)",
            },
        }
        for i in range(num)
        for j in range(num)
    ]
    longest = max(map(len, names))
    rotated = {"rotate": 60} if longest > 4 else {}
    room = 34 + min(6 * longest, 90)
    labels = {"color": "var(--faint)", "hideOverlap": True}
    columns = axis("taken for", kind="category", gap=room - 18)
    rows = axis("is", kind="category", gap=8, nameLocation="start", inverse=True)
    option = {
        "grid": {"left": room, "right": 10, "top": 28, "bottom": room},
        "tooltip": {"trigger": "item", "tips": True},
        "xAxis": {**columns, "data": names, "axisLabel": {**labels, **rotated}},
        "yAxis": {**rows, "data": names, "axisLabel": labels},
        "visualMap": {
            "min": 0,
            "max": 1,
            "dimension": 2,
            "show": False,
            "inRange": {"color": ["var(--paper)", "var(--ours)"]},
        },
        "series": [
            {
                "type": "heatmap",
                "data": data,
                "itemStyle": {"borderColor": "var(--grid)", "borderWidth": 1},
            }
        ],
    }
    caption = (
        f"Confusion of {counts.sum():,} test {words.examples(task)}: rows are what they are, "
        "columns what the network takes them for."
    )
    return Chart("confusion", caption, option, height=min(560, 200 + 34 * num))


def _confused(counts: np.ndarray, task: Task) -> Chart:
    names, mistakes = class_names(task), counts - np.diag(np.diag(counts))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:_PAIRS]
    pairs = [divmod(int(place), len(counts)) for place in order if mistakes.flat[place]]
    return _bars(
        "confusion",
        f"The classes that are confused most, of {counts.sum():,} test {words.examples(task)}.",
        [f"{names[i]} → {names[j]}" for i, j in pairs],
        [int(mistakes[i, j]) for i, j in pairs],
        "times",
    )


def _bars(name: str, caption: str, titles: list[str], values: list[float], unit: str) -> Chart:
    option = {
        "grid": grid(left=170, top=10, bottom=44),
        "tooltip": {"trigger": "axis"},
        "xAxis": axis(unit),
        "yAxis": {
            "type": "category",
            "data": titles,
            "inverse": True,
            "axisLabel": {"color": "var(--faint)", "width": 150, "overflow": "truncate"},
        },
        "series": [{"type": "bar", "data": values, "itemStyle": {"color": "var(--ours)"}}],
    }
    return Chart(name, caption, option, height=90 + 22 * len(titles))


def predicted_numbers(run: Run) -> Chart | None:
    """Of regressions: what was predicted against what was true."""
    kept, task = run.predictions, run.task
    if kept is None or task is None or task.kind != "regression":
        return None
    names = class_names(task)
    truth = kept["targets"].reshape(len(kept["targets"]), -1).astype(float)
    found = kept["predictions"].reshape(truth.shape).astype(float)
    drawn = [
        {
            "type": "scatter",
            "name": f"output {name}",
            "symbolSize": 5,
            "data": np.stack([truth[:, i], found[:, i]], 1).round(6).tolist(),
            **look(i),
        }
        for i, name in enumerate(names[:6])
    ]
    low, high = float(truth.min()), float(truth.max())
    right = {"coord": [low, low]}, {"coord": [high, high]}
    drawn[0]["markLine"] = {
        "silent": True,
        "symbol": "none",
        "lineStyle": {"color": "var(--ink)", "type": "dashed"},
        "data": [list(right)],
    }
    option = {
        "grid": grid(),
        "tooltip": {"trigger": "item"},
        "xAxis": axis("true", scale=True),
        "yAxis": height_axis("predicted", scale=True),
        "series": drawn,
    }
    return Chart("predicted", f"Of {len(truth):,} test {words.examples(task)}.", option, height=400)


def labels_found(run: Run) -> Chart | None:
    """Of labels: how many that hold are found, and how many that are found hold, at 1/2."""
    kept, task = run.predictions, run.task
    if kept is None or task is None or task.kind != "multi_label":
        return None
    truth, found = kept["targets"] > 0.5, kept["predictions"] > 0.5
    hits = (truth & found).sum(0)
    recall = hits / np.maximum(truth.sum(0), 1)
    precision = hits / np.maximum(found.sum(0), 1)
    shown = np.argsort(-truth.sum(0), kind="stable")[:30]
    names = class_names(task)
    chart = _bars("labels", "", [names[i] for i in shown], [], "% at a probability of 1/2")
    bars = (("recall", recall, "ours"), ("precision", precision, "second"))
    chart.option["series"][:] = [
        {"type": "bar", "name": name, "data": (100 * values[shown]).round(1).tolist(),
         "itemStyle": {"color": f"var(--{colour})"}}
        for name, values, colour in bars
    ]  # fmt: skip
    caption = (
        "Recall: of the examples that have a label, those for which it is found. Precision: of "
        f"those for which it is found, those that have it. {len(truth):,} test "
        f"{words.examples(task)}."
    )
    return chart._replace(caption=caption, height=100 + 30 * len(shown))


def error_map(run: Run) -> Chart | None:
    """Of dense tasks: where in an example the errors are, on the mean."""
    kept, task = run.predictions, run.task
    if kept is None or task is None or not task.is_dense:
        return None
    errors = np.atleast_2d(kept["errors"].astype(float))
    rows, columns = errors.shape
    data = [[j, i, round(float(errors[i, j]), 5)] for i in range(rows) for j in range(columns)]
    option = {
        "grid": grid(top=10, right=80),
        "tooltip": {"trigger": "item"},
        "xAxis": {**axis("column", kind="category"), "data": list(range(columns))},
        "yAxis": {**axis("row", kind="category"), "data": list(range(rows)), "inverse": True},
        "visualMap": {
            "min": 0,
            "max": float(errors.max()) or 1.0,
            "dimension": 2,
            "right": 0,
            "top": "middle",
            "text": [amount(float(errors.max())), "0"],
            "textStyle": {"color": "var(--ink)"},
            "inRange": {"color": ["var(--paper)", "var(--warm)"]},
        },
        "series": [{"type": "heatmap", "data": data}],
    }
    what = "share of wrong classes" if task.kind == "segmentation" else "mean absolute error"
    return Chart("errors", f"The {what} at each place of the test examples.", option, height=420)


def layer_bars(run: Run) -> Chart | None:
    """The time of each layer of the winner, coloured by stage."""
    times, winner = run.layer_times, run.networks.get(WINNER)
    if times is None or winner is None or not times["ms"]:
        return None
    steps = {step.name: step for step in winner.plan.steps}
    data = []
    for name, ms in zip(times["names"], times["ms"], strict=True):
        stage = int(name[5 : name.index("_")]) + 1 if name.startswith("stage") else 0
        step, colour = steps[name], f"var(--stage-{stage % 6})"
        costs = f"{short(num_weights(step.layer))} params, {short(step_macs(step))} MACs"
        sizes = f"{step.layer.kind} {step.layer.in_channels}→{step.layer.out_channels} channels"
        tip = [name, f"{sizes}, to {step.out_size[0]}×{step.out_size[1]}", costs, f"{ms:.3f} ms"]
        data.append({"value": round(ms, 4), "tip": tip, "itemStyle": {"color": colour}})
    option = {
        "grid": grid(top=38),
        "tooltip": {"trigger": "item", "tips": True},
        "xAxis": {
            **axis("layers in their order, coloured by stage", kind="category"),
            "data": times["names"],
            "axisLabel": {"show": False},
            "axisTick": {"show": False},
        },
        "yAxis": height_axis("ms"),
        "series": [{"type": "bar", "data": data, "barCategoryGap": "8%"}],
    }
    caption = (
        f"Milliseconds of each layer for {times['batch']} examples at once on {times['device']}, "
        f"one after the other: {sum(times['ms']):.1f} ms in all. Compiled as one program, as the "
        "network is delivered, neighbours are fused, so that the sum is another."
    )
    return Chart("layers", caption, option, height=300)
