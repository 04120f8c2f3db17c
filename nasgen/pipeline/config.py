"""Reads and checks the config of a run, before anything is written or compiled.

A config is a locked `ConfigDict` of flat groups of plain values, made by the `get_config()` of a
file such as `experiments/configs/default.py`, which documents every key. Here stand the rules of
the values: one `Rule` a key, in dict literals. Whatever breaks one is a `UserError` of one line:
what is wrong, what was given, what would be right. Nothing here imports JAX.
"""

import difflib
import importlib.util
import math
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from nasgen.types import KINDS, METRICS


class UserError(ValueError):
    """The user's input cannot be used: reported as one line and exit code 2, without a traceback.

    Raise it from a pipeline only before the pipeline has written anything, or where the given
    settings cannot lead on from what it has written, as when training diverges.
    """


class Rule(NamedTuple):
    """What a value must be. `names` are the valid ones where the value is a name or several."""

    text: str
    holds: Callable[[Any], bool]
    names: tuple[str, ...] = ()


def whole(low: int, high: int = 2**53) -> Rule:
    """A whole number in `low..high`."""
    limit = f"of at least {low}" if high == 2**53 else f"in {low}..{high}"
    return Rule(
        f"a whole number {limit}",
        lambda value: (
            isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        ),
    )


def wholes(low: int, high: int) -> Rule:
    """A tuple of at least one whole number in `low..high`."""
    one = whole(low, high)
    return Rule(
        f"a non-empty tuple of whole numbers in {low}..{high}",
        lambda value: (
            isinstance(value, tuple | list) and len(value) > 0 and all(map(one.holds, value))
        ),
    )


def number(
    low: float, high: float = math.inf, *, above: bool = False, closed: bool = False
) -> Rule:
    """A finite number from `low` (with `above`: above `low`) and below `high` (with `closed`: up to
    `high`)."""
    lower = f"above {low:g}" if above else f"of at least {low:g}"
    upper = f" and {'at most' if closed else 'below'} {high:g}"
    return Rule(
        f"a number {lower}" + ("" if math.isinf(high) else upper),
        lambda value: (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (value > low if above else value >= low)
            and (value <= high if closed else value < high)
        ),
    )


def boolean() -> Rule:
    """`true` or `false`."""
    return Rule("true or false", lambda value: isinstance(value, bool))


def text() -> Rule:
    """A string that is not empty."""
    return Rule("a non-empty text", lambda value: isinstance(value, str) and value.strip() != "")


def one_of(names: Iterable[str]) -> Rule:
    """One of `names`."""
    names = tuple(names)
    return Rule(f"one of {', '.join(names)}", lambda value: value in names, names)


def some_of(names: Iterable[str]) -> Rule:
    """A tuple of different members of `names`, or an empty one."""
    names = tuple(names)
    return Rule(
        f"a tuple of some of {', '.join(names)}, none twice",
        lambda value: (
            isinstance(value, tuple | list)
            and all(name in names for name in value)
            and len(set(value)) == len(value)
        ),
        names,
    )


def optional(rule: Rule) -> Rule:
    """`rule`, or nothing."""
    return rule._replace(
        text=f"{rule.text} (or left out)",
        holds=lambda value: value is None or rule.holds(value),
    )


# Tasks by name, and whether each needs `task.path` (None: it may be left out). The data itself is
# loaded by `nasgen.data`.
TASKS = {
    "digits": False,
    "cifar10": False,
    "cifar10_lossless": False,
    "npz": True,
    "own": True,
    "tfds": None,
    "nb360": None,
}

# What every config has.
COMMON = {
    "seed": whole(0, 2**32 - 1),
    "pipeline": text(),
    "compilation_cache": boolean(),
}

# The groups of a task and of a budget, wherever they occur.
REQUEST = {
    "task.name": one_of(TASKS),
    "task.path": optional(text()),
    "task.dataset": optional(text()),
    "task.kind": optional(one_of(KINDS)),
    "task.metric": optional(one_of(METRICS)),
    "task.dims": optional(whole(1, 2)),
    "task.size": optional(whole(2, 4096)),
    "task.corrupt": optional(one_of(("refuse", "skip"))),
    "task.label": optional(text()),
    "task.series": optional(text()),
    "task.time": optional(text()),
    "task.length": optional(whole(2, 2**20)),
    "budget.params": optional(whole(1)),
    "budget.macs": optional(whole(1)),
    "budget.activation_memory": optional(whole(1)),
    "budget.latency_ms": optional(number(0, above=True)),
}

# The groups of a made-up task of images and its budget.
MADE_UP = {
    "task.size": whole(2, 512),
    "task.channels": whole(1, 4),
    "task.classes": whole(2, 100_000),
    "budget.params": whole(1),
    "budget.macs": whole(1),
}

# Searches by name, as in `nasgen.search.methods`, which needs JAX; and the settings of each.
SEARCHES = (
    "generate",
    "paper",
    "random",
    "evolution",
    "local_search",
    "cells_only",
    "macro_only",
)
METHODS = {
    "methods.generate.batch": whole(1, 100_000),
    "methods.generate.elites": whole(1, 100_000),
    "methods.generate.generations": whole(0, 10_000),
    "methods.generate.edits": whole(1, 100_000),
    "methods.paper.spaces": whole(1),
    "methods.paper.population": whole(1),
    "methods.evolution.population": whole(2),
    "methods.evolution.tournament": whole(1),
    "methods.local_search.patience": whole(1),
}

# Policies of AutoAugment, as in `nasgen.data.auto_augment`, which needs JAX.
POLICIES = ("cifar10", "imagenet")

DESIGN = {
    **COMMON,
    **REQUEST,
    **METHODS,
    "pretrained": text(),
    "design.method": one_of(SEARCHES),
    "design.num_macros": whole(1, 1_000_000),
    "design.cells_per_macro": whole(1, 1_000),
    "design.num_exact": whole(1, 100_000),
    "design.score_batch": whole(2, 4096),
    "design.fitness": text(),
    "design.finalists": whole(0, 1_000),
    "design.finalist_steps": whole(1),
    "design.latency_table": optional(text()),
    "design.baselines": some_of(SEARCHES),
    "train.steps": whole(1),
    "train.batch_size": whole(1, 65_536),
    "train.learning_rate": number(0, above=True),
    "train.weight_decay": number(0),
    "train.warmup_fraction": number(0, 1),
    "train.label_smoothing": number(0, 1),
    "train.ema": number(0, 1),
    "train.clip_norm": number(0),
    "train.max_shift": whole(0, 512),
    "train.flip": boolean(),
    "train.min_crop": number(0, 1),
    "train.auto_augment": optional(one_of(POLICIES)),
    "train.erasing": number(0, 1, closed=True),
    "train.mixup": number(0),
    "train.teacher": optional(text()),
    "train.distillation": number(0, 1, closed=True),
    "train.temperature": number(0, above=True),
    "train.excitation": number(0, 1, closed=True),
    "train.bf16": boolean(),
    "train.micro_batches": whole(1, 65_536),
    "train.patience": whole(0),
    "report.plots": boolean(),
    "report.wandb": boolean(),
}

# Families of networks made by hand, as in `nasgen.published.handmade`, which needs JAX.
HANDMADE = ("resnet", "mobilenet_v2")

# Pipelines whose whole config is checked here. Others check their own groups, by `check`.
PIPELINE_RULES = {"design": DESIGN, "compare": {**DESIGN, "beside": one_of(HANDMADE)}}


def nearest(name: str, names: Iterable[str]) -> str:
    """`"; did you mean `x`?"` with the member of `names` nearest to `name`, or nothing."""
    names = list(names)
    by_folded = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name.lower(), by_folded, n=1)
    last = name.rpartition(".")[2]
    same_last = [candidate for candidate in names if candidate.rpartition(".")[2] == last]
    found = [by_folded[folded] for folded in close] or same_last
    return f"; did you mean `{found[0]}`?" if found else "."


def flat(config: Mapping[str, Any] | ConfigDict, prefix: str = "") -> dict[str, Any]:
    """The values of a config by dotted key; a group without keys stands as an empty dict."""
    values = {}
    for key, value in config.items():
        if isinstance(value, Mapping | ConfigDict) and len(value):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def load_config(path: str) -> ConfigDict:
    """The config made by the `get_config()` of the Python file at `path`.

    Raises `UserError`: no such file, a file that does not run, no `get_config`, no `ConfigDict`.
    """
    file = Path(path)
    try:
        if not file.is_file():
            folder = file.parent if file.parent.is_dir() else Path("experiments/configs")
            siblings = [str(one) for one in folder.glob("*.py") if one.stem != "__init__"]
            raise UserError(
                f"`--config` must be a Python file; got {path}{nearest(path, siblings)}"
            )
        source = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    except OSError as error:
        raise UserError(f"`--config` {path} cannot be read: {error.strerror}.") from None
    except (SyntaxError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        where = f" line {error.lineno}" if isinstance(error, SyntaxError) else ""
        what = error.msg if isinstance(error, SyntaxError) else error
        raise UserError(f"`--config` {path}{where} is not Python: {what}.") from None
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("config_file", None))
    module.__file__ = str(file)
    try:
        exec(source, module.__dict__)
        if not callable(getattr(module, "get_config", None)):
            raise UserError(f"`--config` {path} must define get_config(); it does not.")
        config = module.get_config()
    except UserError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = [frame.lineno for frame in frames if frame.filename == str(file)][-1:]
        where = f" line {line[0]}" if line else ""
        what = " ".join(str(error).split())
        raise UserError(f"`--config` {path}{where}: {type(error).__name__}: {what}") from None
    if not isinstance(config, ConfigDict):
        kind = type(config).__name__
        raise UserError(f"`--config` {path}: get_config() must return a ConfigDict; got {kind}.")
    return config.lock()


def override_keys(argv: Iterable[str]) -> list[str]:
    """The keys of the `--config.KEY` flags in a command line, in order."""
    found = (re.match(r"--?(?:no)?config\.([^=]+)", argument) for argument in argv)
    return [match.group(1) for match in found if match]


def check_overrides(config: ConfigDict, argv: Iterable[str]) -> None:
    """Raises `UserError` where the command line sets a key that the config lacks, or a group."""
    values = flat(config)
    groups = {key.rpartition(".")[0] for key in values} - {""}
    for key in override_keys(argv):
        if key in groups:
            members = ", ".join(one for one in values if one.startswith(f"{key}."))
            raise UserError(f"`--config.{key}` is a group; set one of its keys: {members}.")
        if key not in values:
            end = nearest(key, values)
            end = f"; its keys are {', '.join(values)}." if end == "." else end
            raise UserError(f"`--config.{key}` is no key of the config{end}")


def check(config: ConfigDict, rules: Mapping[str, Rule], *, strict: bool = True) -> None:
    """Raises `UserError` for the first key that is unknown, missing or breaks its rule.

    strict: the config has the keys of `rules` and no others; else only keys that it has count.
    """
    values = flat(config)
    if strict:
        for key in values:
            if key not in rules:
                raise UserError(f"`config.{key}` is no key of this pipeline{nearest(key, rules)}")
        for key, rule in rules.items():
            if key not in values:
                raise UserError(f"`config.{key}` is missing; it must be {rule.text}.")
    for key, rule in rules.items():
        if key in values and not rule.holds(values[key]):
            raise UserError(_broken(key, values[key], rule))


def _broken(key: str, value: Any, rule: Rule) -> str:
    given = [value] if isinstance(value, str) else value
    wrong = [
        one
        for one in (given if isinstance(given, list | tuple) else ())
        if isinstance(one, str) and rule.names and one not in rule.names
    ]
    end = nearest(wrong[0], rule.names) if wrong else "."
    return f"`config.{key}` must be {rule.text}; got {value!r}{end}"


def validate(config: ConfigDict, *, pipelines: Iterable[str]) -> None:
    """Checks a config before anything is imported, compiled or written; raises `UserError`.

    pipelines: the names that `config.pipeline` may have.
    """
    for key in COMMON:
        if key not in config:
            raise UserError(f"`config.{key}` is missing; it must be {COMMON[key].text}.")
    check(config, {**COMMON, "pipeline": one_of(pipelines)}, strict=False)
    rules = PIPELINE_RULES.get(config.pipeline)
    check(config, rules or REQUEST, strict=rules is not None)
    values = flat(config)
    if rules is not None:
        check_training(config.train)
        check_report(values)
    if "task.name" in values:
        _check_task(config)


def check_report(values: Mapping[str, Any]) -> None:
    """Raises UserError where the report asks for a package that is not there; values: flat."""
    if values.get("report.wandb") and importlib.util.find_spec("wandb") is None:
        raise UserError(
            "`config.report.wandb` must be false where wandb is not installed; got true: "
            "`pip install wandb`, or leave it out."
        )


def check_training(train: ConfigDict) -> None:
    """Rules that bind several keys."""
    if train.batch_size % train.micro_batches:
        raise UserError(
            f"`config.train.micro_batches` must divide `train.batch_size`, {train.batch_size}; "
            f"got {train.micro_batches}."
        )
    if train.distillation and train.teacher is None:
        raise UserError(
            f"`config.train.teacher` must name a network's folder where `train.distillation` is "
            f"{train.distillation:g}; got none."
        )
    if train.teacher is None:
        return
    if not train.distillation:
        raise UserError(
            f"`config.train.distillation` must be above 0 for the teacher {train.teacher!r}; got 0."
        )
    if not Path(train.teacher).is_dir():
        raise UserError(
            f"`config.train.teacher` must be an existing folder; got {train.teacher!r}."
        )


def task_options(config: ConfigDict) -> dict[str, Any]:
    """What `data.load` is given beside the task's name and the seed: all that is not left out."""
    return {k: v for k, v in config.task.items() if k != "name" and v is not None}


def _check_task(config: ConfigDict) -> None:
    options = task_options(config)
    name, path = config.task.name, options.get("path")
    if TASKS[name] and path is None:
        raise UserError(f"`config.task.path` must name the data of task `{name}`; got none.")
    if TASKS[name] is False and path is not None:
        raise UserError(f"`config.task.path` must be left out for task `{name}`; got {path!r}.")
    try:
        found = path is None or Path(path).exists()
    except OSError:
        found = False
    if not found:
        raise UserError(f"`config.task.path` must be an existing file or folder; got {path!r}.")
    from nasgen import data

    try:
        data.check(name, **options)
    except (ValueError, OSError) as error:
        raise UserError(str(error).replace("`", "`config.task.", 1)) from None
