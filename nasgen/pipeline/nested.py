"""A run within a run: a workdir of its own below another's, so it resumes like any other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from nasgen.pipeline.config import UserError
from nasgen.pipeline.workdir import (
    RESULTS,
    Workdir,
    close_workdir,
    discard_workdir,
    open_workdir,
)


def run_nested(
    path: Path, config: ConfigDict, run: Callable[[ConfigDict, Workdir], None]
) -> dict[str, Any]:
    """The results of a run in this folder; run: of a pipeline. A UserError says which folder's run
    it is of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    inner = open_workdir(path, config)
    try:
        if not inner.finished:
            run(config, inner)
    except UserError as error:
        discard_workdir(inner)
        raise UserError(f"{path.name}: {error}") from None
    except BaseException:
        close_workdir(inner)
        raise
    close_workdir(inner)
    return json.loads((inner.path / RESULTS).read_text())
