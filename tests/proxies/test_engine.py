"""Scores are the same on any number of devices and processes; memory stays where it was."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.distributed import free_port
from nasgen.proxies import PROXIES, engine
from nasgen.proxies.proxy import Ensemble, Proxy
from nasgen.spaces import SPACES, graphs
from nasgen.types import Architecture, MacroArchitecture, Stage, Task
from tests.proxies import few_ops

# The environment of a process that imports what this one does.
HERE = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
OPEN, TASK = SPACES["open"], Task("toy", (6, 6, 1), 3)
STAGES = (Stage(0, 8, 1, 1),)
NAMES = ("snip_snr", "nwot", "t_cet", "synflow")


def plans_of(num: int, task: Task = TASK):
    cells = graphs.unpack(OPEN.sample(jax.random.key(0), num))
    macro = MacroArchitecture(STAGES, 16)
    return [make_plan(Architecture(macro, (cell,)), OPEN.ops, task) for cell in cells]


def batch_of(num: int = 8, task: Task = TASK):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(num, *task.input_shape)).astype(np.float32)
    return images, rng.integers(0, task.num_classes, num)


def some_scores(num: int, **options) -> dict[str, list[float]]:
    proxies = {name: PROXIES[name] for name in NAMES} | {"odd": Proxy((), odd)}
    plans = few_ops.plans(num, TASK, STAGES)
    scores = engine.score(plans, proxies, jax.random.key(1), *batch_of(), **options)
    reasons = [[name, index, why] for (name, index), why in sorted(scores.reasons.items())]
    return {name: values.tolist() for name, values in scores.values.items()} | {"_": reasons}


def odd(passes) -> float:
    return float("nan") if passes.costs.layers % 2 else 1.0


RUN = "import json; from tests.proxies.test_engine import some_scores; "
RUN_ALL = RUN + "print(json.dumps(some_scores(6)))"


def test_three_devices_score_as_one():
    flags = "--xla_force_host_platform_device_count=3"
    environment = {**os.environ, **HERE, "XLA_FLAGS": flags}
    command = [sys.executable, "-c", RUN_ALL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert repr(json.loads(done.stdout)) == repr(some_scores(6))  # nan equals nan here


def test_several_walks_at_a_time_score_as_one():
    assert repr(some_scores(6, threads=8)) == repr(some_scores(6, threads=1))


@pytest.mark.slow
def test_two_processes_score_as_one():
    port = free_port()
    join = (
        "import sys, jax; jax.config.update('jax_cpu_collectives_implementation', 'gloo'); "
        f"jax.distributed.initialize('127.0.0.1:{port}', 2, int(sys.argv[1])); "
    )
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", join + RUN_ALL, str(process)],
            env={**environment, **HERE},
            stdout=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    for output in outputs:
        assert repr(json.loads(output.splitlines()[-1])) == repr(some_scores(6))


# Resident memory of a process that scores 500 networks, after the first 100 and at the end.
MEMORY = """
import jax, numpy as np
from tests.proxies.test_engine import NAMES, batch_of, plans_of
from nasgen.networks import programs
from nasgen.networks.plan import Plan
from nasgen.proxies import PROXIES, engine
from nasgen.types import Task

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

task = Task("toy", (16, 16, 3), 10)
proxies = {name: PROXIES[name] for name in NAMES}
plans, seen = plans_of(500, task), []
for start in range(0, 500, 50):
    engine.score(plans[start : start + 50], proxies, jax.random.key(1), *batch_of(32, task))
    seen.append(resident())
print(seen[1], seen[-1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_memory_does_not_grow_over_500_architectures():
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], env={**os.environ, **HERE}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    warm, last = map(int, done.stdout.split())
    assert last < 1.1 * warm, (warm, last)


def test_float64_scores_agree_with_float32():
    one, other = (some_scores(2, double=double) for double in (False, True))
    for name in NAMES:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-3, err_msg=name)


def test_scores_do_not_depend_on_what_is_compiled_together(monkeypatch):
    told, expected = [], some_scores(5)
    monkeypatch.setattr(engine, "_TOGETHER", 2)
    assert repr(some_scores(5, on_scored=told.append)) == repr(expected)
    assert told == [1, 2, 3, 4, 5]


def test_an_ensemble_depends_on_its_pool():
    def total(parts):
        return parts.argsort().argsort().sum(0).astype(float)

    proxies = {
        "params": PROXIES["params"],
        "odd": Proxy((), odd),
        "both": Ensemble(("params", "odd"), total),
    }
    scores = engine.score(plans_of(6), proxies, jax.random.key(0), *batch_of())
    bad = {index for name, index in scores.reasons if name == "odd"}
    assert {index for name, index in scores.reasons if name == "both"} == bad
    assert np.array_equal(np.isnan(scores.values["both"]), np.isnan(scores.values["odd"]))

    def low(passes):
        return -np.inf if np.isnan(odd(passes)) else odd(passes)

    scores = engine.score(
        plans_of(6), proxies | {"odd": Proxy((), low)}, jax.random.key(0), *batch_of()
    )
    assert np.isfinite(scores.values["both"]).all()  # a rank has a place for -inf
    assert {index for name, index in scores.reasons} == bad  # and the part is marked
    with pytest.raises(ValueError, match="`proxies` must hold \\['odd', 'params'\\]"):
        engine.score(plans_of(1), {"both": proxies["both"]}, jax.random.key(0), *batch_of())
