"""Eight devices train as one does."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from nasgen.pipeline.distributed import free_port
from nasgen.training.sharding import data_mesh, replicate, shard_batch

# The environment of a process that imports what this one does.
HERE = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

# Run in a process of its own: the number of devices is fixed when JAX starts.
EIGHT_DEVICES = """
import flax.linen as nn, jax, jax.numpy as jnp, numpy as np, optax
from nasgen.data.task import Dataset, Split
from nasgen.training.fit import fit
from nasgen.training.recipe import Recipe, preparation
from nasgen.training.sharding import data_mesh, shard_batch
from nasgen.training.state import init_state
from nasgen.training.supervised import evaluate, task_loss
from nasgen.types import KINDS, Task
from functools import partial

class Net(nn.Module):
    dense: bool

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Conv(4, (3, 3))(x))
        return nn.Dense(3)(nn.relu(x) if self.dense else nn.relu(x).mean((1, 2)))

tx, recipe = optax.sgd(0.05, momentum=0.9), Recipe(max_shift=1, label_smoothing=0.0)

def batch_fn(kind, step):
    rng = np.random.default_rng(step)
    # a batch sorted by brightness: statistics of one device's part would be far from the whole's
    x = np.sort(rng.normal(size=(16, 6, 6, 1)).astype(np.float32) * 3, axis=0)
    places = (6, 6) if kind == "segmentation" else ()
    return x, rng.integers(0, 3, (16, *places)).astype(np.int32)

def run(kind, mesh):
    net = Net(kind == "segmentation")
    task = Task("tiny", (6, 6, 1), 3, kind, KINDS[kind].metric, KINDS[kind].loss)
    x, y = batch_fn(kind, 99)
    data = Dataset(task, *(Split(x, y),) * 3, np.zeros(1), np.ones(1))
    variables = jax.jit(partial(net.init, train=False))(jax.random.key(0), x)
    state = init_state(variables["params"], tx, jax.random.key(1),
                       model_state={"batch_stats": variables["batch_stats"]})
    fitted = fit(task_loss(net, recipe, task), state, partial(batch_fn, kind), tx, num_steps=10,
                 log_every=1, prepare_fn=preparation(recipe, data), mesh=mesh, label=None)
    scores = evaluate(partial(net.apply, train=False),
                      {"params": fitted.state.params, **fitted.state.model_state},
                      Split(x[:13], y[:13]), task, batch_size=8, mesh=mesh)
    return fitted, scores

assert jax.device_count() == 8
mesh = data_mesh()
for kind in ("classification", "segmentation"):
    (one, one_scores), (eight, eight_scores) = run(kind, None), run(kind, mesh)
    assert len(jax.tree.leaves(eight.state.params)[0].sharding.device_set) == 8
    trained = lambda fitted: jax.tree.leaves((fitted.state.params, fitted.state.model_state))
    for a, b in zip(trained(one), trained(eight), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=1e-5)
    for a, b in zip(one.history, eight.history, strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-5, (a, b)
    assert one_scores.value == eight_scores.value
    np.testing.assert_array_equal(one_scores.rows, eight_scores.rows)
    assert len(one_scores.rows) == 13
    assert abs(one_scores.loss - eight_scores.loss) < 1e-5
parts = shard_batch(np.arange(16.0), mesh).addressable_shards
assert [part.data.shape for part in parts] == [(2,)] * 8
try:
    shard_batch(np.zeros((12, 2)), mesh)
except ValueError as error:
    assert "8 devices" in str(error) and "12 examples" in str(error)
else:
    raise AssertionError("an indivisible batch was taken")
print("equal")
"""


def test_ten_steps_on_eight_devices_equal_one():
    flags = "--xla_force_host_platform_device_count=8"
    environment = {**os.environ, **HERE, "XLA_FLAGS": flags}
    done = subprocess.run(
        [sys.executable, "-c", EIGHT_DEVICES], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("equal")


# argv: process, of how many, port, and what the script that follows takes. To JAX each is a host.
ONE_OF_SEVERAL = """
import sys, jax
process, processes, port, *arguments = sys.argv[1:]
if int(processes) > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", int(processes), int(process))
assert jax.device_count() == jax.process_count() == int(processes)
import jax.numpy as jnp, json, numpy as np, optax
from functools import partial
from nasgen.training.fit import fit
from nasgen.training.sharding import data_mesh, default_mesh
from nasgen.training.state import init_state
"""

# argv: workdir, the step to stop at.
LINEAR = """
workdir, stop_at = arguments[0], int(arguments[1])

def batch_fn(step):
    x = np.random.default_rng(step).normal(size=(8, 3)).astype(np.float32)
    return x, x @ np.array([1, -2, 0.5], np.float32)

def loss_fn(params, model_state, batch, key):
    return jnp.mean((batch[0] @ params["w"] - batch[1]) ** 2), (model_state, {})

def stop(row):
    if row["step"] == stop_at:
        raise SystemExit(3)

tx = optax.adam(0.05)
state = init_state({"w": jnp.zeros(3)}, tx, jax.random.key(0))
fitted = fit(loss_fn, state, batch_fn, tx, num_steps=20, log_every=5, checkpoint_every=5,
             workdir=workdir, mesh=data_mesh(), on_metrics=stop, label=None)
print("result", json.dumps(np.asarray(fitted.state.params["w"]).tolist()))
"""

# Ten steps of a small network, as tasks are trained.
NETWORK = """
from nasgen.data.task import Dataset, Split
from nasgen.networks.network import Network, init_network
from nasgen.networks.plans.open import make_plan
from nasgen.spaces.open import OPS
from nasgen.training.recipe import Recipe, preparation
from nasgen.training.supervised import task_loss
from nasgen.types import Architecture, Cell, MacroArchitecture, Op, Stage, Task

TASK = Task("tiny", (6, 7, 2), 3)
ops = tuple(OPS.index(Op(*op)) for op in (("mbconv_2", 3), ("conv", 3)))
cell = Cell(ops, ((0, 1), (1, 2), (1, 3), (2, 3)))
macro = MacroArchitecture((Stage(0, 8, 2, 1),), 16)

def batch_fn(step):
    rng = np.random.default_rng(step)
    # sorted by brightness: statistics of one process's part would be far from the whole's
    x = np.sort(rng.normal(size=(16, *TASK.input_shape)).astype(np.float32), axis=0)
    return x, rng.integers(0, TASK.num_classes, 16).astype(np.int32)

tx, recipe = optax.sgd(0.02, momentum=0.9, nesterov=True), Recipe(max_shift=1, mixup=0.2)
plan, split = make_plan(Architecture(macro, (cell,)), OPS, TASK), Split(*batch_fn(99))
data = Dataset(TASK, split, split, split, np.zeros(2), np.ones(2))
variables = init_network(jax.random.key(0), plan)
model_state = {"batch_stats": variables["batch_stats"]}
state = init_state(variables["params"], tx, jax.random.key(1), model_state=model_state)
fitted = fit(task_loss(Network(plan), recipe, TASK), state, batch_fn, tx, num_steps=10,
             log_every=1, prepare_fn=preparation(recipe, data), mesh=default_mesh(), label=None)
print("result", json.dumps([row["loss"] for row in fitted.history]))
"""


def run_processes(script: str, *arguments: object, number: int = 2, code: int = 0) -> list:
    """What each of several processes says is its result; all end with `code`."""
    port = str(free_port())
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-c", ONE_OF_SEVERAL + script]
    started = [
        subprocess.Popen(
            [*command, *map(str, (process, number, port, *arguments))],
            env={**environment, **HERE},
            stdout=subprocess.PIPE,
            text=True,
        )
        for process in range(number)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in started]
    assert {process.returncode for process in started} == {code}
    lines = [line.split(maxsplit=1) for output in outputs for line in output.splitlines()]
    return [json.loads(rest) for word, rest in lines if word == "result"]


@pytest.mark.slow
def test_two_processes_resume_to_the_same_weights(tmp_path):
    straight = run_processes(LINEAR, tmp_path / "straight", 0)
    assert run_processes(LINEAR, tmp_path / "stopped", 15, code=3) == []
    resumed = run_processes(LINEAR, tmp_path / "stopped", 0)
    assert len(straight) == 2 and straight[0] == straight[1]
    assert resumed == straight


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one():
    (one,), two = (run_processes(NETWORK, number=number) for number in (1, 2))
    assert len(one) == 10 and len(set(one)) == 10
    assert len(two) == 2 and two[0] == two[1]
    np.testing.assert_allclose(two[0], one, rtol=0, atol=1e-5)


def test_mesh_over_chosen_devices():
    mesh = data_mesh(jax.devices()[:1])
    assert mesh.axis_names == ("data",) and mesh.size == 1
    batch = shard_batch({"x": np.ones((3, 2))}, mesh)
    assert np.array_equal(batch["x"], np.ones((3, 2)))
    assert np.array_equal(replicate(np.arange(3), mesh), np.arange(3))


def test_batch_of_scalars_is_refused():
    with pytest.raises(ValueError, match="`batch` must divide"):
        shard_batch(np.float32(1.0), data_mesh(jax.devices()[:1]))
