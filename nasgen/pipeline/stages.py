"""How a pipeline runs its stages: each once, skipped when its files are there and whole."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nasgen import processes
from nasgen.compile_clock import CLOCK
from nasgen.data.rows import Unreadable
from nasgen.pipeline.config import UserError
from nasgen.pipeline.environment import release_memory
from nasgen.pipeline.workdir import Workdir, finish_stage, plain, stage_done, write_json
from nasgen.training.checkpoint import Unusable
from nasgen.training.fit import Diverged
from nasgen.training.progress import announce, duration


class Stage(NamedTuple):
    """name: also of its manifest. files: what it writes, below the workdir. run: the work; what it
    returns goes to `stage_NAME.json` with the seconds it took. together: whether every process of
    the run takes part, as where networks are scored or trained; else the first one works alone."""

    name: str
    files: tuple[str, ...]
    run: Callable[[], dict | None]
    together: bool = False


def run_stages(workdir: Workdir, stages: Sequence[Stage]) -> None:
    """Runs the stages in order. When one has to run, so have all that come after it.

    Raises UserError where training diverges, where an example turns out to be unreadable, and where
    no checkpoint can be gone on from; what was written before stays."""
    fresh = False
    for stage in stages:
        if not fresh and stage_done(workdir, stage.name):
            announce(stage.name, "done before")
            continue
        fresh = True
        spent = workdir.path / f"spent_{stage.name}.json"
        times = _clock(spent)
        try:
            figures = (stage.run() if stage.together else _alone(stage)) or {}
        except (Diverged, Unreadable, Unusable) as error:
            raise UserError(f"stage {stage.name} cannot go on. {error}") from error
        except KeyboardInterrupt:  # a signal: the same command goes on
            write_json(spent, times())
            raise
        release_memory()
        seconds, report = times()["seconds"], _report(stage.name)
        write_json(workdir.path / report, {**figures, **times()})
        if processes.is_first():
            spent.unlink(missing_ok=True)
        finish_stage(workdir, stage.name, [*stage.files, report])
        processes.wait_for_all(stage.name)  # what the first one wrote is there for the others
        announce(stage.name, f"done in {duration(seconds)}")


def _clock(spent: Path) -> Callable[[], dict[str, float]]:
    """Seconds from now on, with those of sessions that were interrupted, as `spent` has them."""
    before = {"seconds": 0.0, "seconds_compile": 0.0}
    if spent.exists():
        before |= json.loads(spent.read_text())
    started, compiled = time.perf_counter(), CLOCK.seconds

    def times() -> dict[str, float]:
        return {
            "seconds": before["seconds"] + time.perf_counter() - started,
            "seconds_compile": before["seconds_compile"] + CLOCK.seconds - compiled,
        }

    return times


def _alone(stage: Stage) -> dict | None:
    """What it returns, in the process that does it."""
    return processes.from_first(lambda: plain(stage.run()), error=UserError)


def read_stage(folder: Path, name: str) -> dict[str, Any]:
    """What a finished stage returned, with its `seconds` and `seconds_compile`."""
    return json.loads((folder / _report(name)).read_text())


def _report(name: str) -> str:
    return f"stage_{name}.json"
