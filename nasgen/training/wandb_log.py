"""Rows of metrics for Weights & Biases, where a run asks for it: the package is imported then.

`WANDB_MODE=offline` keeps everything in the folder, for `wandb sync` later.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = "nasgen"
FOLDER, _IDENTITY = "wandb", "run.json"


@contextmanager
def wandb_log(
    folder: Path, *, name: str, settings: Mapping[str, Any]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Gives a function that takes each row, as `fit` has them. The same folder goes on with the
    same run. name: of the run. settings: its config."""
    import wandb

    run = wandb.init(
        project=PROJECT,
        name=name,
        id=_identity(folder / FOLDER),
        resume="allow",
        dir=str(folder),
        config=dict(settings),
    )
    try:
        yield lambda row: run.log(_named(row), step=row["step"])
    finally:
        run.finish()


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a row by the names that they have in event files, too."""
    return {f"{row['kind']}/{k}": v for k, v in row.items() if k not in ("step", "kind")}


def _identity(folder: Path) -> str:
    """That of the run that the folder holds, drawn where it holds none."""
    path = folder / _IDENTITY
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"id": uuid.uuid4().hex[:16]}))
    return json.loads(path.read_text())["id"]
