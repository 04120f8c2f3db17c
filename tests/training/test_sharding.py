"""Eight devices train as one does."""

import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

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


# argv: process, port, workdir, the step to stop at. Two processes are two hosts to JAX.
ONE_OF_TWO = """
import sys, jax
process, port, workdir, stop_at = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"127.0.0.1:{port}", 2, process)
import jax.numpy as jnp, numpy as np, optax
from nasgen.training.fit import fit
from nasgen.training.sharding import data_mesh
from nasgen.training.state import init_state

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
print("weights", np.asarray(fitted.state.params["w"]).tobytes().hex())
"""


def run_two_processes(workdir, stop_at: int) -> list[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_OF_TWO, str(process), port, str(workdir), str(stop_at)],
            env={**environment, **HERE},
            stdout=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert {process.returncode for process in started} == {3 if stop_at else 0}
    return [line for output in outputs for line in output.splitlines() if "weights" in line]


@pytest.mark.slow
def test_two_processes_resume_to_the_same_weights(tmp_path):
    straight = run_two_processes(tmp_path / "straight", stop_at=0)
    assert run_two_processes(tmp_path / "stopped", stop_at=15) == []
    resumed = run_two_processes(tmp_path / "stopped", stop_at=0)
    assert len(set(straight)) == 1 and len(straight) == 2
    assert resumed == straight


def test_mesh_over_chosen_devices():
    mesh = data_mesh(jax.devices()[:1])
    assert mesh.axis_names == ("data",) and mesh.size == 1
    batch = shard_batch({"x": np.ones((3, 2))}, mesh)
    assert np.array_equal(batch["x"], np.ones((3, 2)))
    assert np.array_equal(replicate(np.arange(3), mesh), np.arange(3))


def test_batch_of_scalars_is_refused():
    with pytest.raises(ValueError, match="`batch` must divide"):
        shard_batch(np.float32(1.0), data_mesh(jax.devices()[:1]))
