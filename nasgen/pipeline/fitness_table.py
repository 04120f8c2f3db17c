"""The table of trained accuracies that a fitness is fitted on: networks of `open` in bands of equal
cost, each scored by every cheap proxy and briefly trained, some of them longer, some twice.

    networks.json       what is trained, in order; TASK_*.npy: the images
    parts/*.npz         each network's scores and accuracies
    fitness_table.parquet, and .json: config and environment

A row is one training: what is known before it (`feature_*`, `cell_*`, `latents`, `proxy_*`, costs,
`band`: -1 for one that a search led to below its own), then `accuracy_STEPS` and `loss_STEPS` on
validation images. Interrupted, it goes on with the next network. `earlier` names a table whose rows
are kept: with another seed, a table grows.
"""

import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen import data, pretrained
from nasgen.data import parquet
from nasgen.data.task import Dataset
from nasgen.pipeline import fitness_networks, fitness_training
from nasgen.pipeline.accuracy_fit import OUTSIDE
from nasgen.pipeline.config import (
    COMMON,
    TASKS,
    UserError,
    boolean,
    check,
    number,
    one_of,
    optional,
    some_of,
    text,
    whole,
    wholes,
)
from nasgen.pipeline.fitness_networks import Asked, Band, draw_band, search_band
from nasgen.pipeline.pretrain_cells import card
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_json, write_results
from nasgen.pretrained.bundle import load_accuracy, load_bundle
from nasgen.training.brief import BriefRecipe
from nasgen.types import Costs

TABLE, CARD = "fitness_table.parquet", "fitness_table.json"
_EVERY = 10  # trainings between two tables of what there is
BUILT_IN = tuple(name for name, needs_path in TASKS.items() if not needs_path)
TASK_RULES = {
    **{f"{cost}_{end}": wholes(1, 2**40) for cost in ("params", "macs") for end in ("from", "to")},
    "num": whole(2, 100_000),
    "num_long": whole(0, 100_000),
    "num_twice": whole(0, 100_000),
    "num_train": whole(16),
    "num_evaluation": whole(16),
    "score_batch": whole(4, 4096),
    "steps": wholes(1, 10**7),
    "long_steps": wholes(1, 10**7),
    "batch_size": whole(2, 65_536),
    "learning_rate": number(0, above=True),
    "warmup": whole(1),
    "max_shift": whole(0, 512),
    "flip": boolean(),
}
RULES = {
    **COMMON,
    "pretrained": text(),
    "workers": whole(1, 1024),
    "earlier": optional(text()),
    "accuracy": text(),
    "source": one_of(("drawn", "searched")),
    "search.scores": whole(4, 100_000),
    "search.each": whole(1, 1_000),
    "search.steps": optional(whole(1, 10**7)),
    "tasks": some_of(BUILT_IN),
}
RECIPE = ("batch_size", "learning_rate", "warmup", "max_shift", "flip")


def run(config: ConfigDict, workdir: Workdir) -> None:
    """All stages, then results.json. Raises UserError for a config that is off, for data, weights
    or an earlier table that are not there."""
    groups = [name for name in BUILT_IN if name in config]
    check(config, RULES | {f"{t}.{k}": rule for t in groups for k, rule in TASK_RULES.items()})
    folder = workdir.path
    _check_together(config, drawn=(folder / "networks.json").exists())
    files = [
        f"{task}_{part}_{n}.npy"
        for task in config.tasks
        for part in ("train", "evaluation")
        for n in "xy"
    ]
    stages = [
        Stage("networks", ("networks.json", *files), partial(draw, config, folder)),
        Stage("trainings", ("parts",), partial(train, config, folder)),
        Stage("table", (TABLE, CARD), partial(assemble, config, folder)),
    ]
    run_stages(workdir, stages)
    figures = {}
    for stage in stages:
        rows = read_stage(folder, stage.name)
        figures |= {f"{stage.name}/{name}": value for name, value in rows.items()}
    write_results(workdir, figures)


def _check_together(config: ConfigDict, *, drawn: bool) -> None:
    """The rules that hold between keys; data (unless `drawn` before), weights and tables that must
    be there."""
    for name in config.tasks:
        if name not in config:
            raise UserError(f"`config.tasks` must name groups of the config; it has no {name}.")
        one = config[name]
        if len({len(one[f"{c}_{e}"]) for c in ("params", "macs") for e in ("from", "to")}) > 1:
            raise UserError(
                f"`config.{name}.params_from`, `params_to`, `macs_from` and `macs_to` must be "
                "equally long, a number a band."
            )
        for key in ("steps", "long_steps"):
            if list(one[key]) != sorted(set(one[key])):
                raise UserError(f"`config.{name}.{key}` must ascend; got {one[key]}.")
        for key in ("num_long", "num_twice"):
            if one[key] > one.num:
                raise UserError(
                    f"`config.{name}.{key}` must be at most {name}.num = {one.num}; got {one[key]}."
                )
    try:
        parquet.pandas()
        pretrained.find(config.pretrained, "macro")
        pretrained.find(config.accuracy, "accuracy")
        if config.earlier is not None and not Path(config.earlier).is_file():
            raise UserError(f"`config.earlier` must be a table; {config.earlier} is no file.")
        for name in () if drawn else config.tasks:
            dataset = _dataset(name, config.seed)
            most = min(config[name].num_train, len(dataset.train.y))
            if config[name].score_batch > most:
                raise UserError(
                    f"`config.{name}.score_batch` must be at most the {most} training examples; "
                    f"got {config[name].score_batch}."
                )
    except ValueError as error:
        raise UserError(str(error)) from None


@cache
def _dataset(name: str, seed: int) -> Dataset:
    return data.load(name, seed=seed)


def draw(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """Draws and describes every network, in the order of training: the brief ones task by task,
    bands by turns; some of them again, with another seed, for the noise; the long ones."""
    bundle, brief, again, long = load_bundle(config.pretrained), [], [], []
    bundle = bundle._replace(accuracy=load_accuracy(config.accuracy))
    for task_number, name in enumerate(config.tasks):
        settings = config[name]
        dataset = _dataset(name, config.seed)
        files = (settings.num_train, settings.num_evaluation)
        fitness_training.save_data(folder, dataset, *files)
        key = jax.random.fold_in(jax.random.key(config.seed), task_number)
        bands = _bands(settings)
        columns = []
        for index, band in enumerate(bands):
            band_key = jax.random.fold_in(key, index)
            each = -(-settings.num // len(bands))
            if config.source == "searched":
                asked = Asked(
                    scores=config.search.scores,
                    each=config.search.each,
                    steps=config.search.steps or settings.steps[-1],
                    batch=settings.score_batch,
                )
                drawn = search_band(bundle, band_key, dataset, band, each, asked)
            else:
                drawn = draw_band(bundle, band_key, dataset.task, band, each)
            known = [fitness_networks.describe(bundle, dataset.task, one) for _, one in drawn]
            columns.append(
                [
                    {
                        "band": index if band.holds(Costs(**row["costs"])) else OUTSIDE,
                        "origin": origin,
                        "task": dataset.task._asdict(),
                        **row,
                    }
                    for (origin, _), row in zip(drawn, known, strict=True)
                ]
            )
        turns = _by_turns(columns)[: settings.num]
        cut = len(turns) - settings.num_long
        common = {"seed": config.seed, "score_batch": settings.score_batch}
        short, more = (
            common | {"recipe": _recipe(settings, steps), "long": steps == "long_steps"}
            for steps in ("steps", "long_steps")
        )
        brief += [one | short for one in turns[:cut]]
        again += [one | short | {"seed": config.seed + 1} for one in turns[: settings.num_twice]]
        long += [one | more for one in turns[cut:]]
    _dataset.cache_clear()  # its images are in files now
    rows = brief + again + long
    write_json(folder / "networks.json", rows)
    return {"num_rows": len(rows)}


def _bands(settings: ConfigDict) -> list[Band]:
    params = zip(settings.params_from, settings.params_to, strict=True)
    macs = zip(settings.macs_from, settings.macs_to, strict=True)
    return [Band(*pair) for pair in zip(params, macs, strict=True)]


def _by_turns(columns: list[list]) -> list:
    longest = max(map(len, columns))
    return [column[i] for i in range(longest) for column in columns if i < len(column)]


def _recipe(settings: ConfigDict, steps: str) -> dict[str, Any]:
    fields = {name: settings[name] for name in RECIPE}
    return BriefRecipe(steps=tuple(settings[steps]), **fields)._asdict()


def train(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """Trains what is not trained yet. Meanwhile the table holds what there is."""
    rows = json.loads((folder / "networks.json").read_text())

    def on_trained(done: int) -> None:
        if done % _EVERY == 0:
            assemble(config, folder)

    fitness_training.train_all(folder, rows, workers=config.workers, on_trained=on_trained)
    return {"num_trained": len(rows)}


def assemble(config: ConfigDict, folder: Path) -> dict[str, Any]:
    """The rows of all parts that are there, and those of the earlier table before them."""
    rows = json.loads((folder / "networks.json").read_text())
    there = [i for i, row in enumerate(rows) if fitness_training.is_trained(folder, i, row)]
    pandas = parquet.pandas()
    frame = pandas.DataFrame([_row(rows[i], fitness_training.read_part(folder, i)) for i in there])
    if config.earlier is not None:
        frame = pandas.concat([parquet.read(Path(config.earlier)), frame], ignore_index=True)
        frame = frame.drop_duplicates(["architecture", "task", "seed", "long"])
    frame.to_parquet(folder / TABLE, index=False)
    figures = _counts(frame)
    about = card(config, "networks of open, scored and briefly trained", figures)
    about["data"] = f"{', '.join(sorted(set(frame['task'])))}: accuracies on validation images"
    about["earlier_commands"] = _commands(config.earlier)
    write_json(folder / CARD, about)
    return figures


def _counts(frame) -> dict[str, Any]:
    """How many trainings, networks (also by task and origin), and core-hours the table holds."""
    networks = frame.drop_duplicates(["task", "architecture"])
    counts = {"num_rows": len(frame), "num_networks": len(networks)}
    for column in ("task", "origin"):
        groups = networks.groupby(column)
        counts |= {f"num_networks/{name}": len(group) for name, group in groups}
    counts["num_long"] = int(frame["long"].sum())
    brief = frame[~frame["long"]].groupby(["task", "architecture"]).size()
    counts["num_twice"] = int((brief > 1).sum())
    return counts | {"cpu_hours": float(frame["cpu_seconds"].sum() / 3600)}


def _commands(earlier: str | None) -> list[str]:
    """Those that made the earlier table, if its card lies beside it, the first one first."""
    if earlier is None or not (file := Path(earlier).with_suffix(".json")).is_file():
        return []
    about = json.loads(file.read_text())
    return [*about.get("earlier_commands", []), about.get("command", "unknown")]


def _row(one: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    recipe, numbers = one["recipe"], zip(part["accuracies"], part["losses"], strict=True)
    row = {
        "task": one["task"]["name"],
        "architecture": json.dumps(one["architecture"]),
        "origin": one["origin"],
        "band": one["band"],
        "seed": one["seed"],
        "long": one["long"],
        "batch_size": recipe["batch_size"],
        "score_batch": one["score_batch"],
        **one["costs"],
        **{f"feature_{name}": value for name, value in one["features"].items()},
        **{f"cell_{name}": value for name, value in one["cells"].items()},
        "latents": np.array(one["latents"], np.float32),
        **{f"proxy_{name}": value for name, value in part["proxies"].items()},
        "seconds": float(part["seconds"]),
        "cpu_seconds": sum(part["cpu_seconds"].values()),
        "cpu_seconds_training": part["cpu_seconds"]["train"],
        "train_loss": np.asarray(part["train_losses"], np.float16),
    }
    for steps, (accuracy, loss) in zip(recipe["steps"], numbers, strict=True):
        row |= {f"accuracy_{steps}": float(accuracy), f"loss_{steps}": float(loss)}
    return row
