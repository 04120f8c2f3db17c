"""Networks for series and for each pixel: the readable source and the program say what they say."""

import importlib.util

import jax
import numpy as np
import pytest

from nasgen import export
from nasgen.export.stablehlo import export_program
from nasgen.networks.network import Network
from nasgen.networks.plans.open import make_plan
from nasgen.spaces.open import OPS
from nasgen.types import KINDS, Architecture, Cell, MacroArchitecture, Op, Stage, Task
from tests.export.small import variables_of

CELL = Cell(
    tuple(OPS.index(Op(*op)) for op in (("dil_conv", 3), ("avg_pool", 3), ("conv", 3))),
    ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4)),
)
STAGES = (Stage(0, 8, 2, 1), Stage(0, 16, 2, 1))
ARCHITECTURE = Architecture(MacroArchitecture(STAGES, 8), (CELL, CELL))
BOTTLENECK = Cell((OPS.index(Op("bconv_05", 3)),), ((0, 1), (0, 2), (1, 2)))
EXCITED = Architecture(MacroArchitecture(STAGES, 8), (CELL, BOTTLENECK), excitation=0.25)


def task_of(kind: str, shape: tuple[int, ...], **changes) -> Task:
    _, loss, _ = KINDS[kind]
    return Task("toy", shape, 3, kind, loss=loss, **changes)


TASKS = {
    "series": task_of("classification", (13, 2)),
    "labels": task_of("multi_label", (6, 5, 2)),
    "map": task_of("segmentation", (9, 7, 2), stem_stride=2),
    "series_map": task_of("dense_regression", (14, 2)),
}


@pytest.mark.parametrize("name", TASKS)
def test_source_and_program_are_the_network(name, tmp_path):
    task = TASKS[name]
    # All but the classes of images, which have a file of their own; one with an excitation.
    architecture = EXCITED if name == "labels" else ARCHITECTURE
    plan = make_plan(architecture, OPS, task)
    variables = variables_of(plan)
    mean, std = np.float32([4.0, 8.1]), np.float32([3.0, 5.3])
    rng = np.random.default_rng(0)
    examples = rng.normal(mean, std, (5, *task.input_shape)).astype(np.float32)
    wanted = np.asarray(jax.jit(Network(plan).apply)(variables, (examples - mean) / std))
    assert wanted.shape == (5, *(task.input_shape[:-1] if task.is_dense else ()), 3)

    model = _module(tmp_path, plan, variables, task, mean, std, architecture)
    logits = np.asarray(model.logits(model.load(), model.standardise(examples)))
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4)
    said = model.predict(examples, batch_size=2)
    if task.kind in ("classification", "segmentation"):
        np.testing.assert_array_equal(said, wanted.argmax(-1))
    else:
        values = 1 / (1 + np.exp(-wanted)) if task.kind == "multi_label" else wanted
        np.testing.assert_allclose(said, values, rtol=1e-4, atol=1e-4)

    program = export_program(plan, variables, mean=mean, std=std)
    code = program.mlir_module_serialized
    again = export.from_stablehlo(code, task.input_shape, wanted.shape[1:])
    np.testing.assert_allclose(again.call(examples), wanted, rtol=1e-4, atol=1e-4)


def _module(folder, plan, variables, task, mean, std, architecture=ARCHITECTURE):
    options = dict(architecture=architecture, ops=OPS, task=task, mean=mean, std=std)
    (folder / "model.py").write_text(export.model_source(plan, **options))
    export.write_weights(folder / "weights.safetensors", variables)
    spec = importlib.util.spec_from_file_location(f"model_{task.kind}", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_command_line_writes_maps_to_a_file(tmp_path):
    task = TASKS["map"]
    plan = make_plan(ARCHITECTURE, OPS, task)
    mean, std = np.float32([0, 0]), np.float32([1, 1])
    model = _module(tmp_path, plan, variables_of(plan), task, mean, std)
    images = np.random.default_rng(0).normal(size=(2, *task.input_shape)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    names = [str(tmp_path / name) for name in ("images.npy", "maps.npy")]
    assert model.main(names) == 0
    np.testing.assert_array_equal(np.load(names[1]), model.predict(images))
