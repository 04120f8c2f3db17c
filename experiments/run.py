"""The single entry point of nasgen: runs the pipeline that a config names, in one folder.

    python experiments/run.py --config=FILE --workdir=FOLDER [--config.KEY=VALUE ...]
    python experiments/run.py --config=FILE --dry_run [--config.KEY=VALUE ...]
    python experiments/run.py --report=FOLDER

The same command on the same workdir resumes. Every run ends with a page, `report.html` in its
folder; `--report` writes it of what is there so far, also while the run goes on. `--dry_run` says
what a run would do, and what that would take, and writes nothing. Exit codes: 0 done, 2 the input
cannot be used (one line on stderr says why; no workdir is left behind) or training by it diverged
(the line says in which step; what was done before stays), 75 another process of this run ended, 130
SIGINT, 143 SIGTERM, 74 a disk that is full or cannot be written (what was done is kept), anything
else is a defect. What a run survives: see docs/reliability.md; on several machines, or in several
processes: docs/launch.md.
"""

import ast
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from absl import flags
from ml_collections import ConfigDict, config_flags

from nasgen import interruption, processes
from nasgen.pipeline import config as rules
from nasgen.pipeline import distributed
from nasgen.pipeline.config import UserError

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ("config", "workdir", "report", "dry_run")
_NONE = re.compile(r"--?config\.([\w.]+)=None")  # leaves out what may be left out
LOST, DISK = 75, 74  # exit codes
# What Orbax says in other errors than OSError.
_FULL = ("No space left", "Disk quota exceeded", "File too large", "Read-only file system")
EXAMPLE = "--config=experiments/configs/quickstart.py"

Pipeline = Callable[[ConfigDict, "Workdir"], None]


def _design(config, workdir):
    from nasgen.pipeline.request import load_request

    request = load_request(config)
    from nasgen.pipeline import design  # slow to import: a bad request has been refused by now

    design.run(config, workdir, request)


def _compare(config, workdir):
    from nasgen.pipeline.request import load_request

    request = load_request(config)
    from nasgen.pipeline import compare

    compare.run(config, workdir, request)


def _train_model(config, workdir):
    from nasgen.pipeline import train_model

    train_model.run(config, workdir)


def _pretrain_cells(config, workdir):
    from nasgen.pipeline import pretrain_cells

    pretrain_cells.run(config, workdir)


def _pretrain_macro(config, workdir):
    from nasgen.pipeline import pretrain_macro

    pretrain_macro.run(config, workdir)


def _pretrain_accuracy(config, workdir):
    from nasgen.pipeline import pretrain_accuracy

    pretrain_accuracy.run(config, workdir)


def _fitness_table(config, workdir):
    from nasgen.pipeline import fitness_table

    fitness_table.run(config, workdir)


def _bench_seeds(config, workdir):
    from nasgen.benchmarks import seeds

    seeds.run(config, workdir)


def _bench_fitness(config, workdir):
    from nasgen.benchmarks import fitness

    fitness.run(config, workdir)


def _bench_tabular(config, workdir):
    from nasgen.benchmarks.tabular import run as tabular

    tabular.run(config, workdir)


def _bench_proxies(config, workdir):
    from nasgen.benchmarks import proxies

    proxies.run(config, workdir)


def _bench_skeletons(config, workdir):
    from nasgen.benchmarks import skeletons

    skeletons.run(config, workdir)


def _bench_lowerings(config, workdir):
    from nasgen.benchmarks import lowerings

    lowerings.run(config, workdir)


def _bench_scoring(config, workdir):
    from nasgen.benchmarks import scoring

    scoring.run(config, workdir)


def _bench_generation(config, workdir):
    from nasgen.benchmarks import generation

    generation.run(config, workdir)


def _bench_flow(config, workdir):
    from nasgen.benchmarks import flows

    flows.run(config, workdir)


def _bench_search(config, workdir):
    from nasgen.benchmarks import search

    search.run(config, workdir)


def _bench_authors(config, workdir):
    from nasgen.benchmarks import authors

    authors.run(config, workdir)


def _bench_scale(config, workdir):
    from nasgen.benchmarks import scale

    scale.run(config, workdir)


def _bench_scaling(config, workdir):
    from nasgen.benchmarks import scaling

    scaling.run(config, workdir)


def _bench_trained(config, workdir):
    from nasgen.benchmarks import trained

    trained.run(config, workdir)


def _bench_variants(config, workdir):
    from nasgen.benchmarks import variants

    variants.run(config, workdir)


def _bench_training(config, workdir):
    from nasgen.benchmarks import training

    training.run(config, workdir)


def _bench_latency(config, workdir):
    from nasgen.benchmarks import latency

    latency.run(config, workdir)


def _bench_budget(config, workdir):
    from nasgen.benchmarks import budget

    budget.run(config, workdir)


def _bench_new_task(config, workdir):
    from nasgen.benchmarks import new_task

    new_task.run(config, workdir)


# What `config.pipeline` may name. Each imports its stage only when it runs.
PIPELINES = {
    "design": _design,
    "compare": _compare,
    "train_model": _train_model,
    "pretrain_cells": _pretrain_cells,
    "pretrain_macro": _pretrain_macro,
    "pretrain_accuracy": _pretrain_accuracy,
    "fitness_table": _fitness_table,
    "bench_seeds": _bench_seeds,
    "bench_fitness": _bench_fitness,
    "bench_proxies": _bench_proxies,
    "bench_tabular": _bench_tabular,
    "bench_skeletons": _bench_skeletons,
    "bench_lowerings": _bench_lowerings,
    "bench_scoring": _bench_scoring,
    "bench_scale": _bench_scale,
    "bench_scaling": _bench_scaling,
    "bench_trained": _bench_trained,
    "bench_variants": _bench_variants,
    "bench_training": _bench_training,
    "bench_latency": _bench_latency,
    "bench_generation": _bench_generation,
    "bench_flow": _bench_flow,
    "bench_search": _bench_search,
    "bench_authors": _bench_authors,
    "bench_budget": _bench_budget,
    "bench_new_task": _bench_new_task,
}


def main(argv: Sequence[str], *, pipelines: Mapping[str, Pipeline] = PIPELINES) -> int:
    """Runs the command line `argv`; returns the exit code."""
    if {"--help", "-help", "-h"} & set(argv[1:]):
        print(f"{__doc__.strip()}\n\nConfigs, in experiments/configs/:\n\n{configs()}")
        return 0
    try:
        reported, rest = _take(argv, "report")
        if reported is not None or "--report" in argv:
            return _report(reported or "", rest[1:])
        dry, argv = "--dry_run" in argv, [one for one in argv if one != "--dry_run"]
        with interruption.listening():
            config, folder = parse([*argv, "--workdir=none"] if dry else argv)
            rules.validate(config, pipelines=pipelines)
            here = distributed.place(os.environ)
            if dry:
                return _rehearse(config)
            if here is not None:
                distributed.join(here, config.pipeline)
            return _run(pipelines[config.pipeline], config, folder)
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        number = getattr(error, "number", signal.SIGINT)
        print("interrupted: the same command resumes this run", file=sys.stderr)
        return 128 + number
    except Exception as error:
        if (reason := _disk(error)) is not None:
            print(f"error: {reason}; then the same command resumes this run", file=sys.stderr)
            return DISK
        if not processes.is_lost(error):
            raise
        print(
            "error: another process of this run has ended; the same commands resume it",
            file=sys.stderr,
        )
        return LOST


def configs() -> str:
    """A line a config: its name, and the first line of what it says of itself."""
    paths = sorted((ROOT / "experiments" / "configs").glob("*.py"))
    said = {path.stem: ast.get_docstring(ast.parse(path.read_text())) or "" for path in paths}
    del said["__init__"]
    width = max(map(len, said))
    return "\n".join(f"  {name:{width}}  {text.splitlines()[0]}" for name, text in said.items())


def parse(argv: Sequence[str]) -> tuple[ConfigDict, str]:
    """The config, with the overrides of the command line, and the workdir's path.

    Raises `UserError`: flags that are missing, unknown or of the wrong type.
    """
    path, argv = _take(argv, "config")
    if not path:
        raise UserError(f"`--config` must name a config file, as {EXAMPLE}; got none.")
    config = rules.load_config(path)
    rules.check_overrides(config, argv)
    unset = [match[1] for one in argv if (match := _NONE.fullmatch(one))]
    argv = [one for one in argv if not _NONE.fullmatch(one)]
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=values)
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        rest = values(argv)[1:]
    except flags.UnrecognizedFlagError as error:
        end = rules.nearest(error.flagname, FLAGS)
        raise UserError(
            f"`--{error.flagname}` is no flag: there are --config, --config.KEY, --workdir, "
            f"--dry_run and --report{end}"
        ) from None
    except (flags.Error, ValueError, TypeError) as error:
        raise UserError(_wrong_type(error, values, argv)) from None
    if rest:
        raise UserError(f"`{rest[0]}` must follow a flag, as --config.KEY=VALUE.")
    if not values.workdir:
        raise UserError("`--workdir` must name a folder for this run; got none.")
    values.config.update_from_flattened_dict(dict.fromkeys(unset))
    return values.config, values.workdir


def _run(pipeline: Pipeline, config: ConfigDict, folder: str) -> int:
    from nasgen.pipeline import workdir as workdirs
    from nasgen.pipeline.environment import keep_memory

    workdir = workdirs.open_workdir(folder, config)
    results = workdir.path / workdirs.RESULTS
    if workdir.finished:
        workdirs.close_workdir(workdir)
        print(f"This run is finished: {results}")
        return 0
    try:
        keep_memory()
        if config.compilation_cache:
            _keep_programs(workdir.path)
        print(f"{'Resuming' if workdir.resumed else 'Started'} {workdir.path}", flush=True)
        pipeline(config, workdir)
        processes.wait_for_all("the end of the run")
        if processes.is_first() and workdirs.is_finished(workdir.path):
            print(f"Finished: {results}")
            print(f"Look at it: {_write_page(workdir.path)}", flush=True)
    except UserError:
        workdirs.discard_workdir(workdir)
        raise
    except BaseException:
        workdirs.close_workdir(workdir)
        raise
    workdirs.close_workdir(workdir)
    return 0


def _rehearse(config: ConfigDict) -> int:
    """Says what the run would do."""
    if config.pipeline not in ("design", "compare"):
        print("\n".join(f"{key} = {value!r}" for key, value in rules.flat(config).items()))
        print(f"What {config.pipeline} takes is not foretold; its config says what was measured.")
        return 0
    from nasgen.pipeline.request import load_request

    request = load_request(config)
    from nasgen.pipeline import rehearsal  # slow to import: a bad request has been refused by now

    if config.compilation_cache:
        _keep_programs(Path(tempfile.gettempdir()) / "nasgen")
    print(rehearsal.in_words(config, request, rehearsal.rehearse(config, request)))
    return 0


def _report(folder: str, rest: Sequence[str]) -> int:
    """Writes the page of a run, which may be going on."""
    if not folder or rest:
        other = f", not beside `{rest[0]}`" if rest else ""
        raise UserError(f"`--report` must name the workdir of a run{other}.")
    print(f"Written: {_write_page(Path(folder).expanduser())}")
    return 0


def _write_page(folder: Path) -> Path:
    from nasgen.pipeline.page import write_page

    return write_page(folder)


def _disk(error: BaseException) -> str | None:
    """What to do about the disk, where that is what an error is about."""
    text = str(error)
    if found := next((one for one in _FULL if one in text), None):
        where = f" {error.filename}" if isinstance(error, OSError) and error.filename else ""
        return f"the disk cannot be written{where}: {found}: make room for the workdir"
    if isinstance(error, PermissionError):
        return f"{error.filename} cannot be used: {error.strerror}: allow it"
    return None


def _keep_programs(workdir: Path) -> None:
    """Turns on JAX's persistent compilation cache, unless the user's own is set."""
    import jax

    from nasgen.pipeline.environment import program_folder

    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(program_folder(workdir)))
        # Scores use hundreds of programs of tenths of a second each.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


def _take(argv: Sequence[str], flag: str) -> tuple[str | None, list[str]]:
    """The value of the last `--flag=value` or `--flag value`, and the arguments without it."""
    value, rest, arguments = None, [], iter(argv)
    for argument in arguments:
        match = re.fullmatch(rf"--?{re.escape(flag)}(?:=(.*))?", argument, re.DOTALL)
        if match is None:
            rest.append(argument)
        else:
            value = next(arguments, None) if match.group(1) is None else match.group(1)
    return value, rest


def _wrong_type(error: Exception, values: flags.FlagValues, argv: Sequence[str]) -> str:
    """What absl says about a flag's value, in our words where it is a key of the config."""
    match = re.match(r"flag --config\.([^=]+)=", str(error))
    if not match:
        return str(error).splitlines()[0]
    key = match.group(1)
    kind = values[f"config.{key}"].flag_type()
    words = {"int": "a whole number", "float": "a number", "bool": "true or false"}
    given = _take(argv, f"config.{key}")[0]
    return f"`--config.{key}` must be {words.get(kind, f'a {kind}')}; got {given!r}."


def _leave(code: int) -> None:
    """Ends the process, at once after a signal, and where the others of its run cannot come to the
    end with it."""
    if code > 128 or (code not in (0, 2) and processes.joined()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    try:
        _code = main(sys.argv)
    except Exception:
        traceback.print_exc()
        _code = 1
    _leave(_code)
