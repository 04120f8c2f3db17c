"""A teacher is the network that was handed over, on images standardised for another data set."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nasgen.data.task import Split, standardised
from nasgen.export import write_weights
from nasgen.networks.network import Network, init_network
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.teacher import load_teacher
from nasgen.spaces import SPACES
from nasgen.spaces.formats import architecture_to_json
from nasgen.types import Architecture, Cell, MacroArchitecture, Stage, Task

OPEN, TASK = SPACES["open"], Task("grey", (6, 6, 1), 3)
CELL = Cell((0,), ((0, 1), (0, 2), (1, 2)))
ARCHITECTURE = Architecture(MacroArchitecture((Stage(0, 8, 1, 1),), 8), (CELL,))
PLAN = make_plan(ARCHITECTURE, OPEN.ops, TASK)
MEAN, STD = [3.0], [2.0]


@pytest.fixture(scope="module")
def variables():
    return init_network(jax.random.key(0), PLAN)


@pytest.fixture
def folder(tmp_path, variables):
    """What an export writes, as far as a teacher needs it."""
    preprocess = {"input_shape": TASK.input_shape, "mean": MEAN, "std": STD}
    (tmp_path / "preprocess.json").write_text(json.dumps(preprocess))
    architecture = architecture_to_json(ARCHITECTURE, OPEN)
    (tmp_path / "architecture.json").write_text(json.dumps(architecture))
    write_weights(tmp_path / "weights.safetensors", variables)
    return tmp_path


def dataset(task: Task = TASK):
    raw = np.random.default_rng(0).uniform(0, 16, (4, *task.input_shape)).astype(np.float32)
    split = Split(raw, np.arange(4) % 3)
    return raw, standardised(task, split, split, split)


def test_it_sees_raw_images_as_it_was_trained_to(folder, variables):
    raw, data = dataset()
    found = load_teacher(folder, data, OPEN)(jnp.asarray(data.train.x))
    own = jnp.asarray((raw - np.float32(MEAN)) / np.float32(STD))
    wanted = Network(PLAN).apply(variables, own, train=False)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    as_given = Network(PLAN).apply(variables, jnp.asarray(data.train.x), train=False)
    assert np.abs(np.asarray(found) - as_given).max() > 1e-3


def test_what_is_no_network_for_the_task_is_one_line(folder):
    _, data = dataset()
    for task, says in (
        (TASK._replace(num_classes=4), "must have shape"),
        (TASK._replace(input_shape=(8, 8, 1)), "inputs of"),
    ):
        with pytest.raises(ValueError, match=f"`teacher` must be a network for grey; .*{says}"):
            load_teacher(folder, dataset(task)[1], OPEN)
    (folder / "preprocess.json").write_text("{")
    with pytest.raises(ValueError, match="will not do") as error:
        load_teacher(folder, data, OPEN)
    assert "\n" not in str(error.value)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ValueError, match="has no weights.safetensors"):
        load_teacher(folder, data, OPEN)
