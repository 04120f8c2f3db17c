"""The finalists of a design run, for its page and its model card. They come as the run keeps them:
`networks` (rank, fitness, params, macs), `rounds` (steps, networks, values), `winner`."""

from collections.abc import Mapping
from typing import Any

from nasgen.report import words
from nasgen.report.card import defined, number, table
from nasgen.types import Task


def finalists_table(found: Mapping[str, Any], task: Task) -> str:
    """A row a network, a column a round; the winner is bold."""
    rounds = [
        {n: _reached(value, task) for n, value in zip(one["networks"], one["values"], strict=True)}
        for one in found["rounds"]
    ]
    rows = []
    for index, one in enumerate(found["networks"]):
        mark = "**" if index == found["winner"] else ""
        chosen = "drawn at random" if one["rank"] is None else f"score, rank {one['rank']}"
        score = "" if one["fitness"] is None else number(one["fitness"])
        costs = [number(one[name]) for name in ("params", "macs")]
        reached = [by_network.get(index, "") for by_network in rounds]
        rows.append((f"{mark}{chosen}{mark}", score, *costs, *reached))
    steps = [f"After {number(one['steps'])} steps" for one in found["rounds"]]
    note = (
        f"Each was trained from nothing, briefly, on the training {words.examples(task)} and "
        f"judged on the validation {words.examples(task)} ({words.metric(task)}); the better half "
        "went on, and who led in the end was trained in full."
    )
    header = ("Chosen by", "Score", "Parameters", "MACs", *steps)
    return f"{table(header, rows, right=1)}\n\n{note}"


def finalists_in_words(found: Mapping[str, Any], task: Task) -> str:
    """How the winner was chosen, in a sentence without its end."""
    steps = ", then ".join(number(one["steps"]) for one in found["rounds"])
    winner = found["networks"][found["winner"]]
    place = "drawn at random" if winner["rank"] is None else f"rank {winner['rank']} by score"
    return (
        f"best on the validation {words.examples(task)} of {len(found['networks'])} finalists, "
        f"trained briefly for {steps} steps; {place}"
    )


def _reached(value: float | None, task: Task) -> str:
    return words.amount(value, task) if defined(value) else "did not train"
