"""The command line: bad input is one line and exit code 2, good input runs, resumes, finishes."""

import ast
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments import run
from experiments.configs import (
    cifar10,
    cifar10_small,
    cifar100,
    default,
    imagenet,
    own_data,
    quickstart,
)
from nasgen.data.rows import Unreadable
from nasgen.pipeline import config as rules
from nasgen.pipeline import workdir
from nasgen.pipeline.config import UserError
from nasgen.pipeline.stages import Stage, run_stages
from nasgen.pipeline.task_data import load_data
from nasgen.training.fit import Diverged
from tests.data.photos import write_digits

ROOT = Path(__file__).resolve().parents[2]
QUICK = "experiments/configs/quickstart.py"
C, W = f"--config={QUICK}", "--workdir={tmp}/run"
OWN, T = "--config=experiments/configs/own_data.py", "--config.task."

CONFIG_FILES = {
    "no_function.py": "x = 1\n",
    "not_python.py": "def get_config(:\n",
    "not_text.py": "\x00",
    "raises.py": "def get_config():\n    return 1 / 0\n",
    "fails_on_import.py": "import nowhere_at_all\n",
    "dict.py": "def get_config():\n    return {'seed': 0}\n",
    "wants_argument.py": "def get_config(name):\n    return name\n",
    "wrong_type.py": "from experiments.configs import default\n\n"
    "def get_config():\n    c = default.get_config()\n    c.budget.params = 'many'\n    return c\n",
    "missing_key.py": "from experiments.configs import default\n\n"
    "def get_config():\n    c = default.get_config()\n    del c.train.steps\n    return c\n",
    "extra_key.py": "from experiments.configs import default\n\n"
    "def get_config():\n    c = default.get_config()\n    c.train.stepps = 3\n    return c\n",
}

# The command line, and what its one line has to say.
BAD = [
    ([], ["--config", "quickstart.py"]),
    ([C], ["--workdir"]),
    ([C, "--workdir="], ["--workdir"]),
    (["--config=experiments/configs/quikstart.py", W], ["quikstart.py", f"did you mean `{QUICK}`"]),
    (["--config=experiments/configs", W], ["--config", "Python file"]),
    (["--config={tmp}/no_function.py", W], ["no_function.py", "get_config"]),
    (["--config={tmp}/not_python.py", W], ["not_python.py", "line 1"]),
    (["--config={tmp}/not_text.py", W], ["not_text.py"]),
    (["--config={tmp}/raises.py", W], ["line 2", "ZeroDivisionError"]),
    (["--config={tmp}/fails_on_import.py", W], ["line 1", "nowhere_at_all"]),
    (["--config={tmp}/dict.py", W], ["ConfigDict", "dict"]),
    (["--config={tmp}/wants_argument.py", W], ["get_config"]),
    (["--config={tmp}/wrong_type.py", W], ["line 5", "TypeError"]),
    (["--config={tmp}/missing_key.py", W], ["config.train.steps", "missing", "whole number"]),
    (["--config={tmp}/extra_key.py", W], ["config.train.stepps", "did you mean `train.steps`"]),
    ([C, W, "--config.budget.parms=5"], ["budget.parms", "did you mean `budget.params`"]),
    ([C, W, "--config.params=5"], ["`--config.params`", "did you mean `budget.params`"]),
    ([C, W, "--config.zzz=5"], ["zzz", "task.name"]),
    ([C, W, "--config.budget={{}}"], ["budget", "group", "budget.params"]),
    ([C, W, "--config.budget.params=0"], ["budget.params", "at least 1", "got 0"]),
    ([C, W, "--config.budget.params=-3"], ["budget.params", "at least 1", "got -3"]),
    ([C, W, "--config.budget.macs=nan"], ["budget.macs", "whole number", "'nan'"]),
    ([C, W, "--config.budget.latency_ms=0"], ["budget.latency_ms", "above 0", "got 0"]),
    ([C, W, "--config.budget.latency_ms=soon"], ["latency_ms", "a number", "'soon'"]),
    ([C, W, "--config.budget.params=1e6"], ["budget.params", "whole number", "'1e6'"]),
    ([C, W, "--config.budget.params=" + "9" * 30], ["budget.params", "9" * 30]),
    ([C, W, "--config.budget.params"], ["budget.params"]),
    ([C, W, "--config.seed=abc"], ["config.seed", "whole number", "'abc'"]),
    ([C, W, "--config.seed=-1"], ["config.seed", "got -1"]),
    ([C, W, "--config.train.learning_rate=nan"], ["learning_rate", "above 0", "nan"]),
    ([C, W, "--config.train.learning_rate=fast"], ["learning_rate", "a number", "'fast'"]),
    ([C, W, "--config.train.ema=1"], ["train.ema", "below 1"]),
    ([C, W, "--config.train.erasing=1.5"], ["train.erasing", "at least 0 and at most 1", "1.5"]),
    ([C, W, "--config.train.min_crop=1"], ["train.min_crop", "below 1", "got 1"]),
    ([C, W, "--config.train.mixup=-0.1"], ["train.mixup", "at least 0", "got -0.1"]),
    ([C, W, "--config.train.auto_augment=cifar"], ["auto_augment", "did you mean `cifar10`"]),
    ([C, W, "--config.train.micro_batches=3"], ["micro_batches", "divide", "64", "got 3"]),
    ([C, W, "--config.train.temperature=0"], ["train.temperature", "above 0", "got 0"]),
    ([C, W, "--config.train.patience=-1"], ["train.patience", "at least 0", "got -1"]),
    ([C, W, "--config.train.bf16=half"], ["train.bf16", "true or false", "'half'"]),
    ([C, W, "--config.train.distillation=0.5"], ["train.teacher", "0.5", "got none"]),
    ([C, W, "--config.train.teacher=/no/where"], ["train.distillation", "above 0", "/no/where"]),
    (
        [C, W, "--config.train.teacher=/no/where", "--config.train.distillation=0.5"],
        ["train.teacher", "existing folder", "/no/where"],
    ),
    ([C, W, "--config.report.plots=maybe"], ["report.plots", "true or false", "'maybe'"]),
    ([C, W, "--config.task.name=digts"], ["task.name", "did you mean `digits`"]),
    ([C, W, "--config.task.name=npz"], ["task.path", "npz"]),
    ([C, W, "--config.task.name=npz", "--config.task.path=/no/where.npz"], ["/no/where.npz"]),
    ([C, W, "--config.task.path=/tmp"], ["task.path", "digits"]),
    ([OWN, W], ["config.task.path", "own"]),
    ([OWN, W, f"{T}path=/no/where"], ["config.task.path", "/no/where"]),
    ([OWN, W, f"{T}path={{tmp}}"], ["config.task.path", "image", "each class", "no folders"]),
    ([OWN, W, f"{T}path={{tmp}}/dict.py"], ["config.task.path", ".npz, .csv, .parquet", "dict.py"]),
    ([C, W, f"{T}size=32"], ["config.task.size", "no option of data set 'digits'"]),
    ([C, W, f"{T}size=1"], ["config.task.size", "2..4096", "got 1"]),
    ([C, W, f"{T}corrupt=skp"], ["config.task.corrupt", "did you mean `skip`"]),
    ([C, W, f"{T}kind=regresion"], ["config.task.kind", "did you mean `regression`"]),
    ([C, W, f"{T}name=tfds"], ["config.task.dataset", "tfds"]),
    (
        [C, W, f"{T}name=tfds", f"{T}dataset=mnist", f"{T}path={{tmp}}"],
        ["config.task.dataset", "looked at", "tfds build mnist"],
    ),
    ([C, W, "--config.pipeline=desgin"], ["pipeline", "did you mean `design`"]),
    ([C, W, "--config.design.baselines=evolutin"], ["baselines", "did you mean `evolution`"]),
    ([C, W, "--config.design.num_exact=0"], ["num_exact", "in 1..100000", "got 0"]),
    ([C, W, "--config.design.method=evolutoin"], ["method", "did you mean `evolution`"]),
    ([C, W, "--config.methods.paper.spaces=0"], ["methods.paper.spaces", "at least 1", "got 0"]),
    ([C, W, "--config.methods.papper.spaces=9"], ["did you mean `methods.paper.spaces`"]),
    ([C, "--workdri={tmp}/run"], ["--workdri", "did you mean `workdir`"]),
    ([C, W, "stray"], ["stray"]),
    (["--config.seed=x", C, W], ["--config.seed", "'x'"]),
    ([C, W, "--config.task={{'name': 'digits'}}"], ["task", "group"]),
    ([C, "--workdir={tmp}/raises.py"], ["--workdir", "is a file"]),
    ([C, "--workdir={tmp}/raises.py/below"], ["--workdir", "Not a directory"]),
    ([C, "--workdir={tmp}"], ["--workdir", "config.json", "dict.py"]),
    ([C, "--workdir=/proc/nasgen/run"], ["--workdir", "/proc/nasgen"]),
    ([C, "--workdir={tmp}/" + "n" * 300], ["--workdir", "too long"]),
]


@pytest.fixture
def files(tmp_path):
    for name, content in CONFIG_FILES.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def arguments(argv, tmp):
    return [one.format(tmp=tmp) for one in argv]


@pytest.mark.parametrize(("argv", "says"), BAD, ids=[" ".join(argv)[-40:] for argv, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(argv, says, files, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    before = sorted(files.iterdir())
    assert run.main(["run.py", *arguments(argv, files)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
    for words in says:
        assert words in printed.err
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize("number", range(0, len(BAD), 9))
def test_bad_input_ends_the_process_within_seconds(number, files):
    argv, says = BAD[number]
    start = time.monotonic()
    command = [sys.executable, "experiments/run.py", *arguments(argv, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert time.monotonic() - start < 5
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    for words in says:
        assert words in done.stderr
    assert not (files / "run").exists()


@pytest.mark.parametrize("bad", ["--config.budget.params=0", f"{T}name=own", f"{T}name=tfds"])
def test_errors_come_before_jax_is_imported(tmp_path, bad):
    code = (
        "import sys; from experiments import run; "
        "code = run.main(['run.py', *sys.argv[1:]]); assert 'jax' not in sys.modules; "
        "sys.exit(code)"
    )
    argv = [C, f"--workdir={tmp_path}/run", bad]
    done = subprocess.run([sys.executable, "-c", code, *argv], cwd=ROOT, capture_output=True)
    assert done.returncode == 2, done.stderr


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command line with a pipeline of the test's own."""
    monkeypatch.chdir(ROOT)

    def call(pipeline, *more, folder=tmp_path / "run"):
        argv = ["run.py", C, f"--workdir={folder}", "--config.compilation_cache=false", *more]
        return run.main(argv, pipelines={"design": pipeline})

    return call


def finish(config, work):
    workdir.write_results(work, {"params": config.budget.params})


def test_run_finish_and_run_again(command, tmp_path, capsys):
    assert command(finish, "--config.budget.params=40_000") == 0
    assert '"params": 40000' in (tmp_path / "run" / "results.json").read_text()
    assert "Finished" in capsys.readouterr().out

    def never(config, work):
        raise AssertionError("a finished run was run again")

    assert command(never, "--config.budget.params=40_000") == 0
    assert "finished" in capsys.readouterr().out
    assert command(never, "--config.budget.params=50_000") == 2
    assert "budget.params: 40000 -> 50000" in capsys.readouterr().err


def test_interrupted_run_resumes(command, tmp_path, capsys):
    def interrupted(config, work):
        (work.path / "half.txt").write_text("half")
        raise KeyboardInterrupt

    assert command(interrupted) == 130
    assert capsys.readouterr().err.count("\n") == 1

    def second(config, work):
        assert work.resumed and (work.path / "half.txt").read_text() == "half"
        finish(config, work)

    assert command(second) == 0


def test_user_error_of_a_pipeline_leaves_no_workdir(command, tmp_path, capsys):
    def refuse(config, work):
        raise UserError("`budget.params` must be at least 900;\n got 30.")

    assert command(refuse, folder=tmp_path / "new" / "run") == 2
    assert capsys.readouterr().err == "error: `budget.params` must be at least 900; got 30.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [Diverged, Unreadable])
def test_a_training_that_cannot_go_on_is_one_line_and_keeps_what_was_done(
    command, error, tmp_path, capsys
):
    def stop(config, work):
        def train():
            (work.path / "half.txt").write_text("half")
            raise error("The loss is nan in step 12;\n a lower learning rate may help.")

        run_stages(work, [Stage("train", ("trained.npz",), train)])

    assert command(stop) == 2
    printed = capsys.readouterr().err.splitlines()
    assert [line for line in printed if line.startswith("error: ")] == printed[-1:]
    assert "stage train" in printed[-1] and "nan in step 12; a lower learning rate" in printed[-1]
    assert (tmp_path / "run" / "half.txt").read_text() == "half"
    assert command(finish) == 0  # nobody holds the workdir


def test_defects_keep_their_traceback_and_free_the_workdir(command, tmp_path):
    def defect(config, work):
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        command(defect)
    assert not (tmp_path / "run" / "lock").exists()
    assert command(finish) == 0


def test_workdir_in_use_is_refused(command, tmp_path, capsys):
    def nested(config, work):
        assert command(finish) == 2
        finish(config, work)

    assert command(nested) == 0
    assert f"process {os.getpid()}" in capsys.readouterr().err


def test_programs_are_kept_between_runs(tmp_path):
    code = """
import sys, jax, jax.numpy as jnp
from experiments import run
from nasgen.pipeline import workdir

def pipeline(config, work):
    def deep(x):
        for _ in range(100):
            x = jnp.sin(x) @ x + jnp.sort(x)
        return x
    compiled, hits = jax.jit(deep), []
    jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
    compiled(jnp.ones((4, 4)))
    found = sum(event.endswith("/cache_hits") for event in hits)
    workdir.write_results(work, {"found": found})

sys.exit(run.main(["run.py", *sys.argv[1:]], pipelines={"design": pipeline}))
"""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("XDG", "JAX"))}
    found = []
    for name in ("a", "b"):
        command = [sys.executable, "-c", code, C, f"--workdir={tmp_path / name}"]
        subprocess.run(command, cwd=ROOT, check=True, env={**env, "HOME": str(tmp_path / "home")})
        found.append(json.loads((tmp_path / name / "results.json").read_text())["found"])
    (kept,) = (tmp_path / "home" / ".cache" / "nasgen" / "programs").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o700
    assert found[0] == 0 and found[1] >= 1


def test_help_says_how(capsys):
    assert run.main(["run.py", "--help"]) == 0
    said = capsys.readouterr().out
    assert "--config=FILE --workdir=FOLDER" in said
    for path in (ROOT / "experiments" / "configs").glob("*.py"):
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        assert path.stem == "__init__" or f"  {path.stem} " in said and first in said


def test_what_may_be_left_out_is_left_out_by_none(monkeypatch):
    monkeypatch.chdir(ROOT)
    argv = [C, "--workdir=any", "--config.budget.macs=None", "--config.train.steps=7"]
    config, _ = run.parse(["run.py", *argv])
    assert config.budget.macs is None and config.budget.params == 30_000
    assert config.train.steps == 7
    rules.check(config, rules.DESIGN)
    with pytest.raises(UserError, match="`config.train.steps` must be .*; got None"):
        rules.check(run.parse(["run.py", *argv, "--config.train.steps=None"])[0], rules.DESIGN)
    with pytest.raises(UserError, match="`--config.train.stepps` is no key"):
        run.parse(["run.py", *argv, "--config.train.stepps=None"])


@pytest.mark.parametrize("pipeline", ["design", "train_model"])
def test_a_metric_that_no_prediction_can_have_is_refused_before_the_search(
    pipeline, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(ROOT)
    rng = np.random.default_rng(0)
    parts = {part: rng.integers(0, 2, (40, 3)) for part in ("y", "y_validation", "y_test")}
    parts["y_validation"][:] = 0
    images = {part.replace("y", "x"): rng.normal(size=(40, 8, 8, 1)) for part in parts}
    np.savez(tmp_path / "mine.npz", **parts, **images)
    config = {"design": OWN, "train_model": "--config=experiments/configs/paper_cifar.py"}[pipeline]
    argv = [config, f"--workdir={tmp_path}/run", "--config.train.batch_size=8"]
    argv += [f"{T}path={tmp_path}/mine.npz", f"{T}kind=multi_label"]
    argv += [f"{T}name=own"] if pipeline == "train_model" else ["--config.design.score_batch=8"]
    assert run.main(["run.py", *argv]) == 2
    printed = capsys.readouterr().err.splitlines()[-1]
    assert "defined on the validation examples" in printed
    assert "mean_average_precision" in printed
    assert not (tmp_path / "run").exists()


def test_the_rules_cover_the_default_config_exactly():
    assert set(rules.flat(default.get_config())) == set(rules.DESIGN)


@pytest.mark.parametrize("module", [default, quickstart])
def test_shipped_configs_are_valid(module):
    rules.validate(module.get_config().lock(), pipelines=run.PIPELINES)


@pytest.mark.parametrize("module", [cifar10, cifar100, imagenet, cifar10_small])
def test_configs_of_known_data_sets_keep_the_rules(module):
    """Their data may be absent, which is the only thing that may be said of them."""
    config = module.get_config().lock()
    rules.check(config, rules.PIPELINE_RULES[config.pipeline])
    try:
        rules.validate(config, pipelines=run.PIPELINES)
    except UserError as error:
        assert module in (cifar100, imagenet) and "tfds build" in str(error)


@pytest.mark.parametrize(("module", "epochs", "images"), [
    (cifar10, 1_440, 45_000), (cifar100, 1_440, 40_000), (imagenet, 480, 1_024_933)
])  # fmt: skip
def test_the_papers_recipe(module, epochs, images):
    train = module.get_config().train
    assert train.steps == epochs * (images // train.batch_size)
    assert train.learning_rate == pytest.approx(0.1 * train.batch_size / 256)
    assert train.warmup_fraction * epochs == pytest.approx(5)
    assert train.weight_decay == (4e-5 if module is imagenet else 5e-4)
    for name in ("label_smoothing", "erasing", "mixup", "auto_augment", "flip"):
        assert train[name]


def test_the_small_config_keeps_its_budget():
    budget = cifar10_small.get_config().budget
    assert budget.params <= 100_000 and budget.macs <= 10_000_000


def test_own_data_needs_a_path_only(tmp_path):
    config = own_data.get_config().lock()
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    config.task.path = str(tmp_path)
    rules.validate(config, pipelines=run.PIPELINES)
    assert rules.task_options(config) == {"path": str(tmp_path)}
    old, new = rules.flat(default.get_config()), rules.flat(config)
    changed = {key for key, value in new.items() if value != old[key]}
    assert changed == {"task.name", "task.path", "design.finalists", "train.clip_norm"}


def test_own_data_may_choose_its_metric(tmp_path):
    write_digits(tmp_path / "photos")
    config = own_data.get_config()
    config.update({"task": {"path": str(tmp_path / "photos"), "metric": "macro_f1"}})
    config.update({"train": {"batch_size": 16}, "design": {"score_batch": 8}})
    rules.validate(config, pipelines=run.PIPELINES)
    assert load_data(config).task.metric == "macro_f1"


def test_quickstart_differs_from_default_by_its_budget_finalists_and_length():
    old, new = rules.flat(default.get_config()), rules.flat(quickstart.get_config())
    changed = {key: value for key, value in new.items() if value != old[key]}
    assert changed.pop("train.steps") < old["train.steps"]
    assert changed.pop("design.finalist_steps") < old["design.finalist_steps"]
    assert changed == {"budget.params": 30_000, "budget.macs": 2_000_000, "design.finalists": 3}


def test_tasks_are_the_data_sets_there_are():
    data = pytest.importorskip("nasgen.data")
    assert set(rules.TASKS) == set(data.DATASETS)


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (rules.whole(1), [1, 2**53], [0, -1, True, 1.0, "1", None, math.nan, 2**53 + 1]),
        (rules.whole(1, 3), [1, 3], [0, 4]),
        (rules.number(0, above=True), [1e-9, 1], [0, -1, math.inf, math.nan, True, "1"]),
        (rules.number(0, 1), [0, 0.5], [1, -0.1]),
        (rules.number(0, 1, closed=True), [0, 0.5, 1], [1.1, -0.1]),
        (rules.boolean(), [True, False], [0, 1, "true", None]),
        (rules.text(), ["a"], ["", " ", None, 1]),
        (rules.optional(rules.whole(1)), [None, 1], [0, ""]),
        (rules.one_of(("a", "b")), ["a"], ["c", None, ["a"]]),
        (rules.some_of(("a", "b")), [(), ("a",), ("b", "a")], ["a", ("a", "a"), ("c",), None]),
    ],
)
def test_rules_hold_for_good_values_only(rule, good, bad):
    assert [rule.holds(value) for value in good] == [True] * len(good)
    assert [rule.holds(value) for value in bad] == [False] * len(bad)
