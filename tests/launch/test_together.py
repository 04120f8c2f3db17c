"""Several processes of this machine, which stand for hosts, find what one finds; when one dies the
others leave, and the same command goes on."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from launch import local
from launch.commands import RUN
from nasgen.pipeline.distributed import free_port
from tests.training.test_sharding import run_processes

ROOT = Path(__file__).resolve().parents[2]
DESIGN = [
    "--config=experiments/configs/quickstart.py",
    "--config.design.num_exact=4",
    "--config.design.num_macros=48",
    "--config.design.baselines=('random',)",
    "--config.design.finalists=1",
    "--config.design.finalist_steps=6",
    "--config.train.steps=20",
    "--config.train.learning_rate=0.005",  # at 0.1 rounding itself grows to 1e-3 in 20 steps
    "--config.budget.params=12_000",
    "--config.budget.macs=300_000",
    "--config.report.plots=False",
]
LEAVE = 20.0  # seconds, at most, that the others stay when one has died

# The scores of five networks. argv: nothing.
SCORES = """
from nasgen.networks.plans.open import make_plan
from nasgen.proxies import PROXIES
from nasgen.proxies.engine import score
from nasgen.spaces.open import OPS
from nasgen.types import Architecture, Cell, MacroArchitecture, Stage, Task

task = Task("tiny", (6, 6, 1), 3)
cell = Cell((1,), ((0, 1), (0, 2), (1, 2)))
plans = [make_plan(Architecture(MacroArchitecture((Stage(0, 8, 2, n),), 16), (cell,)), OPS, task)
         for n in range(1, 6)]
rng = np.random.default_rng(0)
batch = rng.normal(size=(8, 6, 6, 1)).astype(np.float32), rng.integers(0, 3, 8).astype(np.int32)
asked = {name: PROXIES[name] for name in ("t_cet", "nwot")}
scored = []
found = score(plans, asked, jax.random.key(0), *batch, on_scored=scored.append)
print("result", json.dumps([len(scored), {n: v.tolist() for n, v in found.values.items()}]))
"""

# What processes tell each other. argv: nothing.
TALK = """
from nasgen import processes

class Refused(ValueError): pass

def refuse():
    raise OSError("no room")

me = jax.process_index()
told = processes.gathered({"me": me, "long": "x" * 3000 * me})
first = processes.from_first(lambda: [me, None, 0.1])
processes.wait_for_all("here")
try:
    processes.from_first(refuse, error=Refused)
except (OSError, Refused) as error:
    failed = [type(error).__name__, str(error)]
there = [[one["me"], len(one["long"])] for one in told]
print("result", json.dumps([processes.is_first(), there, first, failed]))
"""


@pytest.mark.slow
def test_processes_talk():
    found = run_processes(TALK, number=2)
    assert [first for first, *_ in found] == [True, False]
    for index, (_, told, first, failed) in enumerate(found):
        assert told == [[0, 0], [1, 3000]] and first == [0, None, 0.1]
        assert failed == [("OSError", "Refused")[index], "no room"]


@pytest.mark.slow
def test_scores_do_not_depend_on_the_number_of_processes():
    (one,), two, four = (run_processes(SCORES, number=number) for number in (1, 2, 4))
    assert one[0] == 5 and np.isfinite(one[1]["t_cet"]).all()
    assert sorted(done for done, _ in two) == [2, 3]
    assert sorted(done for done, _ in four) == [1, 1, 1, 2]
    assert all(values == one[1] for _, values in two + four)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a run in one process, as users start it."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    command = [sys.executable, RUN, *DESIGN, f"--workdir={folder}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@contextmanager
def started(arguments):
    """Two processes of the same run; what each says is kept."""
    made = local.commands(arguments, 2, port=free_port(), cores=2)
    children = [local.start(command, first=False) for command in made]
    try:
        yield children
    finally:
        local.end(children)


def wait_until(holds, children):
    """Returns when that holds; fails when a process ends before."""
    while not holds():
        ended = [child for child in children if child.process.poll() is not None]
        assert not ended, "".join(ended[0].last)
        time.sleep(0.05)


def steps_kept(folder):
    """The steps of the checkpoints that are whole."""
    return [p.parent.name for p in folder.glob("train/checkpoints/step-*/manifest.json")]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder of a run in two processes, one of which died: in the search, then the first in the
    training. A third start ended well."""
    folder = tmp_path_factory.mktemp("together") / "run"
    arguments = [*DESIGN, f"--workdir={folder}"]
    moments = [(1, (folder / "config.json").exists, 1.0), (0, lambda: steps_kept(folder), 0.0)]
    for dies, moment, later in moments:
        with started(arguments) as children:
            wait_until(moment, children)
            time.sleep(later)
            children[dies].process.kill()
            killed, other = time.monotonic(), children[1 - dies]
            assert other.process.wait(timeout=LEAVE) != 0  # by itself: nobody watches
            assert time.monotonic() - killed < LEAVE
            time.sleep(0.2)
            said = "".join(other.last)
            assert "another process" in said or "another task died" in said, said
    before = steps_kept(folder)
    assert before and "step-00000020" not in before
    with started(arguments) as children:
        assert local.watch(children) == 0
    return folder


def read(folder, name):
    return json.loads((folder / name).read_text())


def without_times(found):
    """Without what is measured in seconds and milliseconds."""
    if not isinstance(found, dict):
        return found
    timed = ("seconds", "latency_ms")
    return {k: without_times(v) for k, v in found.items() if not k.startswith(timed)}


@pytest.mark.slow
def test_two_processes_find_what_one_finds(alone, together):
    for name in ("search.json", "baselines.json", "finalists.json"):
        assert without_times(read(alone, name)) == without_times(read(together, name)), name
    with np.load(alone / "candidates.npz") as a, np.load(together / "candidates.npz") as b:
        assert all(np.array_equal(a[name], b[name]) for name in a.files)


@pytest.mark.slow
def test_two_processes_train_as_one_does(alone, together):
    rows = [
        [json.loads(line) for line in (folder / "train" / "metrics.jsonl").open()]
        for folder in (alone, together)
    ]
    assert len(rows[0]) == len(rows[1]) > 3
    for one, two in zip(*rows, strict=True):
        assert one["step"] == two["step"] and one["kind"] == two["kind"]
        assert abs(one["loss"] - two["loss"]) < 1e-5 and one["accuracy"] == two["accuracy"]
    with np.load(alone / "trained.npz") as a, np.load(together / "trained.npz") as b:
        for name in a.files:
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=1e-5)
    results = [without_times(read(folder, "results.json")) for folder in (alone, together)]
    for name, value in results[0].items():
        assert results[1][name] == pytest.approx(value, abs=1e-5), name


@pytest.mark.slow
def test_only_the_first_process_wrote(alone, together):
    """The same files, and none beside them: nothing was written twice or left behind. TensorBoard's
    files, one for each start of the training, have its hour in their names."""
    names = [
        sorted(
            one.relative_to(folder).as_posix()
            for one in folder.rglob("*")
            if one.is_file() and not {"arrays", "tensorboard"} & set(one.parts)
        )
        for folder in (alone, together)
    ]
    assert names[0] == names[1]
    events = [len(list((one / "train/tensorboard").iterdir())) for one in (alone, together)]
    assert events == [1, 2]
    assert read(together, "env.json")["process_count"] == 2
    assert len(read(together, "env.json")["resumed"]) == 2


@pytest.mark.slow
def test_a_finished_run_ends_all_alike(together):
    with started([*DESIGN, f"--workdir={together}"]) as children:
        assert local.watch(children) == 0
        assert all("This run is finished" in "".join(child.last) for child in children)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*DESIGN, "--config.train.batch_size=63"], "multiple of the 2"),
        (["--config=experiments/configs/fitness_table.py"], "in several processes"),
    ],
)
def test_bad_input_ends_all_alike(arguments, says, tmp_path):
    with started([*arguments, f"--workdir={tmp_path}/run"]) as children:
        assert local.watch(children) == 2
        for child in children:
            errors = [line for line in child.last if line.startswith("error: ")]
            assert len(errors) == 1 and says in errors[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_folder_that_others_do_not_see_is_refused(tmp_path):
    """As disks that are not shared: the processes are given one path each."""
    made = [
        local.commands([*DESIGN, f"--workdir={tmp_path}/{name}"], 2, port=port, cores=2)[index]
        for port in [free_port()]
        for index, name in enumerate(("here", "there"))
    ]
    children = [local.start(command, first=False) for command in made]
    try:
        assert local.watch(children) == 2
    finally:
        local.end(children)
    for child in children:
        (error,) = [line for line in child.last if line.startswith("error: ")]
        assert "every process sees" in error and "process 1" in error
    assert list(tmp_path.iterdir()) == []
