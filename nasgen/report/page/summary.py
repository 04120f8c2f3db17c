"""The top of the page: the network asked for, the one delivered, three numbers; and the rest of
the facts in tables: finalists, times, how to repeat the run."""

import shlex
from collections.abc import Container, Mapping
from html import escape
from typing import Any

from nasgen.networks.costs import count
from nasgen.report import words
from nasgen.report.card import COSTS, number, score
from nasgen.report.finalists import finalists_in_words
from nasgen.report.page.elements import facts, table, tag
from nasgen.report.page.run import WINNER, Run, finalist_name
from nasgen.statistics import wilson_interval
from nasgen.training.progress import duration
from nasgen.types import Task

_WORDS = {
    "time": "Started",
    "python": "Python",
    "platform": "Platform",
    "backend": "JAX backend",
    "device_kind": "Device",
    "device_count": "Devices",
    "process_count": "Processes",
    "cpu_count": "Processors",
    "git_revision": "Revision of nasgen",
}


def figures_of(run: Run) -> Mapping[str, Any]:
    """The results, or what the delivery found where the run has not ended."""
    return {**run.stages.get("train", {}), **run.stages.get("deliver", {}), **run.results}


def asked(run: Run) -> str:
    """The task and the budget."""
    if run.task is None:
        return facts([("Task", escape(str(run.config.get("task.name", "not known yet"))))])
    task, example = run.task, words.examples(run.task, number=1)
    limits = [
        (f"{title.format(example=example)}, at most", number(bound))
        for field, title in COSTS.items()
        if (bound := getattr(run.budget, field)) is not None
    ]
    if run.budget.latency_ms is not None:
        limits.append(("Latency, at most", f"{run.budget.latency_ms:g} ms"))
    return facts(
        [
            ("Task", escape(f"{task.name}: a network that {words.does(task)}")),
            ("Data", escape(run.data)),
            ("Metric", escape(words.metric(task))),
            *(limits or [("Budget", "no bound")]),
        ]
    )


def delivered(run: Run) -> str:
    """The network in numbers and words."""
    winner, results = run.networks.get(WINNER), figures_of(run)
    if winner is None or run.task is None:
        return tag("p", "No network has been chosen yet.", cls="note")
    costs, stages = count(winner.plan), winner.architecture.macro.stages
    cells = sum(stage.repeats for stage in stages)
    example = words.examples(run.task, number=1)
    rows = [(COSTS[n].format(example=example), number(getattr(costs, n))) for n in COSTS]
    shape = f"{len(stages)} stages with {cells} cells; {costs.layers} layers with weights, "
    rows.append(("Shape", f"{shape}{costs.depth} of them in a row"))
    if run.finalists and run.finalists["winner"] is not None:
        rows.append(("Chosen as", escape(finalists_in_words(run.finalists, run.task))))
    measured = [
        (f"Latency, {what}", f"{results[name]:.3g} ms")
        for name, what in (
            ("latency_ms_measured", f"one {example}"),
            ("latency_ms_measured_32", f"32 {words.examples(run.task)} at once"),
        )
        if results.get(name) is not None
    ]
    validation = score(results, "validation", run.task)
    measured += _beside(run, run.task)
    rows += measured + [(f"Validation {words.title(run.task)}", validation or "")]
    return facts(rows)


def _beside(run: Run, task: Task) -> list[tuple[str, str]]:
    """The networks made by hand that were trained beside it, see `pipeline.compare`."""
    end, found = f"/test_{task.metric}", []
    for name, value in run.results.items():
        if name.endswith(end) and value is not None:
            family = name.removesuffix(end)
            costs = [number(run.results[f"{family}/{cost}"]) for cost in ("params", "macs")]
            text = f"{words.amount(value, task)} with {costs[0]} parameters, {costs[1]} MACs"
            found.append((f"Beside it, {family} by hand", text))
    return found


def headlines(run: Run) -> str:
    """Three numbers: the metric with its interval, the cost against the budget, the time."""
    return tag("div", _metric(run) + _cost(run) + _time(run), cls="headlines")


def _headline(title: str, big: str, rest: str) -> str:
    head = tag("h3", escape(title)) + tag("p", big, cls="big")
    return tag("section", head + rest, cls="headline")


def _metric(run: Run) -> str:
    if run.task is None:
        return _headline("Test", "–", tag("p", "not tested yet", cls="note"))
    results, task = figures_of(run), run.task
    title, value = f"Test {words.title(task)}", results.get(f"test_{task.metric}")
    if value is None:
        return _headline(title, "–", tag("p", "not tested yet", cls="note"))
    total = results.get("test_examples")
    said = f"{total:,} {words.examples(task)}, read once, at the end" if total else ""
    ends = interval(results, task)
    if ends is not None:
        low, high = (words.amount(one, task) for one in ends)
        said = f"95 % interval {low.removesuffix(' %')} to {high}; {said}"
    return _headline(title, words.amount(value, task), tag("p", said, cls="note"))


def interval(results: Mapping[str, Any], task: Task) -> tuple[float, float] | None:
    """The 95 % interval of the test metric, None where none is known."""
    name = f"test_{task.metric}"
    low, high = results.get(f"{name}_low"), results.get(f"{name}_high")
    if low is not None and high is not None:
        return low, high
    if task.metric == "accuracy" and results.get("test_examples") and name in results:
        return wilson_interval(results[name], results["test_examples"])
    return None


def _cost(run: Run) -> str:
    winner = run.networks.get(WINNER)
    if winner is None:
        return _headline("Cost against the budget", "–", tag("p", "no network yet", cls="note"))
    used = count(winner.plan)
    bars, shares = [], []
    for name, bound in run.budget.counted.items():
        value, title = getattr(used, name), name.replace("_", " ").replace("macs", "MACs")
        if bound is None:
            bars.append(_bar(title, number(value), "no bound", None))
        else:
            shares.append(value / bound)
            bars.append(_bar(title, number(value), number(bound), value / bound))
    predicted = figures_of(run).get("latency_ms_predicted")
    if run.budget.latency_ms is not None and predicted is not None:
        shares.append(predicted / run.budget.latency_ms)
        text = f"{predicted:.3g} ms", f"{run.budget.latency_ms:g} ms"
        bars.append(_bar("latency, predicted", *text, shares[-1]))
    big = f"{100 * max(shares):.0f} %" if shares else number(used.params)
    title = "Cost: of the tightest bound" if shares else "Cost: parameters"
    return _headline(title, big, "".join(bars))


def _bar(title: str, value: str, bound: str, share: float | None) -> str:
    text = tag("span", escape(title)) + tag("span", f"{value} of {bound}" if share else value)
    row = tag("div", text, cls="bar-text")
    if share is None:
        return row
    width = f"width:{min(100 * share, 100):.1f}%"
    inner = tag("div", "", cls="bar-used" + (" over" if share > 1 else ""), style=width)
    label = f"{title}: {100 * share:.0f} % of the bound"
    return row + tag("div", inner, cls="bar", role="img", aria_label=label)


def _time(run: Run) -> str:
    spent = {name: stage["seconds"] for name, stage in run.stages.items() if "seconds" in stage}
    if not spent:
        return _headline("Time of this run", "–", tag("p", "nothing has ended yet", cls="note"))
    total = sum(spent.values())
    longest = sorted(spent, key=spent.get, reverse=True)[:3]
    parts = ", ".join(f"{name.replace('_', ' ')} {duration(spent[name])}" for name in longest)
    text = tag("p", escape(f"most of it: {parts}"), cls="note")
    if run.pretraining:
        before = duration(sum(one.seconds for one in run.pretraining))
        said = f"pretraining of the weights, once for all tasks and not in this: {before}"
        text += tag("p", said, cls="note")
    return _headline("Time of this run", duration(total), text)


def finalists(run: Run) -> str:
    """A row a finalist, a column a round; opens each one's cells."""
    if not run.finalists or run.task is None or not run.finalists["rounds"]:
        return ""
    found, task = run.finalists, run.task
    rows = []
    for index, one in enumerate(found["networks"]):
        chosen = "drawn at random" if one["rank"] is None else f"score, rank {one['rank']}"
        mark = " ★" if index == found["winner"] else ""
        reached = []
        for each in found["rounds"]:
            values = dict(zip(each["networks"], each["values"], strict=False))
            value = values.get(index)
            missing = "did not train" if index in values else ""
            reached.append(missing if value is None else words.amount(value, task))
        name = finalist_name(found, index)
        costs = [number(one[cost]) for cost in ("params", "macs")]
        fitness = "" if one["fitness"] is None else f"{one['fitness']:.3g}"
        rows.append((opener(run.networks, name, chosen) + mark, fitness, *costs, *reached))
    steps = [f"After {number(one['steps'])} steps" for one in found["rounds"]]
    caption = (
        f"Trained briefly and judged on the validation {words.examples(task)} "
        f"({words.metric(task)}); the better half goes on. ★: who was trained in full."
    )
    header = ("Chosen by", "Score", "Parameters", "MACs", *steps)
    return table(header, rows, caption=caption)


def opener(networks: Container[str], name: str, text: str) -> str:
    """A button that opens the network's cells, or the text alone where there is none."""
    if name not in networks:
        return escape(text)
    return tag("button", escape(text), type="button", data_net=name)


def times(run: Run) -> str:
    """Where the time went."""
    rows = [
        (
            escape(name.replace("_", " ")),
            duration(stage["seconds"]),
            duration(stage.get("seconds_compile", 0.0)),
        )
        for name, stage in run.stages.items()
        if "seconds" in stage
    ]
    before = [
        (escape(f"before, once: pretraining of {one.part}"), duration(one.seconds), "")
        for one in run.pretraining
    ]
    return table(("Stage", "In all", "Of this, compiling"), rows + before) if rows else ""


def again(run: Run) -> str:
    """The command and the environment that repeat the run, and all its settings."""
    about, environment = [], run.environment
    command = shlex.join(["python", *shlex.split(str(environment.get("command", "")))])
    known = [
        (title, escape(str(environment[k]))) for k, title in _WORDS.items() if k in environment
    ]
    packages = environment.get("packages") or {}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    known.append(("Packages", escape(versions)))
    about.append(tag("pre", tag("code", escape(command)), tabindex=0))
    about.append(facts(known))
    rows = [
        (tag("code", escape(key)), escape("not set" if value is None else str(value)))
        for key, value in run.config.items()
    ]
    settings = tag("summary", "All settings") + table(("Setting", "Value"), rows)
    return "".join(about) + tag("details", settings)


def plain_results(run: Run) -> str:
    """Every figure of results.json, for runs of other pipelines than a design's."""
    rows = [
        (tag("code", escape(name)), f"{value:,.6g}" if isinstance(value, float) else f"{value:,}")
        for name, value in run.results.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return table(("Figure", "Value"), rows) if rows else ""
