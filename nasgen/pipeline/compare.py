"""A design run, and beside it a network made by hand: the largest of its family within the same
budget, trained by the same recipe on the same batches, and handed over the same way.

FAMILY/  what `trained` writes of it. In results.json its figures are `FAMILY/NAME` beside the
winner's; `seconds_total` are those of both.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from nasgen import processes
from nasgen.networks.costs import count
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline import deliver, design, trained
from nasgen.pipeline.config import UserError
from nasgen.pipeline.request import Request
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.task_data import keep_task
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.published import handmade
from nasgen.report.card import tested
from nasgen.types import Architecture


class Other(NamedTuple):
    """The network made by hand, and the folder that it has in the run's."""

    family: str
    architecture: Architecture
    plan: Plan
    folder: Path


def run(config: ConfigDict, workdir: Workdir, request: Request) -> None:
    """All stages of both, then results.json. Raises UserError where no network of the family keeps
    the budget."""
    other = _other(config, workdir, request)
    name = other.family
    stages = [
        *design.stages_of(config, workdir, request),
        Stage(
            f"train_{name}",
            (f"{name}/trained.npz", f"{name}/train"),
            partial(_train, config, request, other),
            together=True,
        ),
        Stage(
            f"deliver_{name}",
            (f"{name}/network", *(f"{name}/{file}" for file in trained.KEPT)),
            partial(_hand_over, config, request, other, workdir.path),
        ),
    ]
    keep_task(request.dataset, workdir.path)
    run_stages(workdir, stages)
    if not processes.is_first():
        return
    both = deliver.results(config, workdir.path, request, [stage.name for stage in stages])
    beside = _results(other, workdir.path)
    write_results(workdir, {**both, **{f"{name}/{k}": v for k, v in beside.items()}})
    print(deliver.in_words(workdir.path))
    print(
        f"Beside it, {name} by hand: {tested(beside)} with {beside['params']:,} parameters and "
        f"{beside['macs']:,} MACs",
        flush=True,
    )


def _other(config: ConfigDict, workdir: Workdir, request: Request) -> Other:
    task = request.dataset.task
    try:
        architecture = handmade.scaled_to(config.beside, request.budget, task)
    except ValueError as error:
        raise UserError(str(error)) from None
    plan = make_plan(architecture, request.space.ops, task)
    return Other(config.beside, architecture, plan, workdir.path / config.beside)


def _train(config: ConfigDict, request: Request, other: Other) -> dict[str, Any]:
    options = dict(key=design.training_key(config), teacher=request.teacher)
    return trained.train(config, request.dataset, other.plan, other.folder, **options)


def _hand_over(config: ConfigDict, request: Request, other: Other, folder: Path) -> dict[str, Any]:
    return trained.hand_over(
        config,
        request.dataset,
        other.architecture,
        other.plan,
        request.space,
        other.folder,
        stages={"train": read_stage(folder, f"train_{other.family}")},
        card={"origin": handmade.ORIGIN, "budget": request.budget},
    )


def _results(other: Other, folder: Path) -> dict[str, Any]:
    """Its figures by the names that the winner's have, without words."""
    found = read_stage(folder, f"deliver_{other.family}")
    figures = {
        k: v for k, v in found.items() if not (k.startswith("seconds") or isinstance(v, str))
    }
    return {**figures, **count(other.plan)._asdict()}
