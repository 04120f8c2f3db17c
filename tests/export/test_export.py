"""An exported network: the same logits without nasgen, whole weights, clear errors."""

import ast
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from nasgen import export
from nasgen.export import stablehlo
from nasgen.networks.network import init_network
from nasgen.networks.plans.open import make_plan
from nasgen.spaces import graphs, macro
from nasgen.spaces.formats import architecture_from_json
from nasgen.spaces.open import OPS, SPACE
from nasgen.types import Architecture, Task
from tests.export.small import (
    ARCHITECTURE,
    CHAIN,
    MEAN,
    STD,
    TASK,
    WITHOUT_NASGEN,
    Exported,
    export_small,
    make_exported,
    run_alone,
)


@pytest.fixture(scope="module", autouse=True)
def _lenient_ranks():
    """The networks' own layers add a channel vector to an image; model.py itself is strict."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    return make_exported(tmp_path_factory.mktemp("export") / "network")


SCRIPT = (
    WITHOUT_NASGEN
    + """
import importlib.util, json
import jax
import numpy as np
jax.config.update("jax_numpy_rank_promotion", "raise")
spec = importlib.util.spec_from_file_location("model", sys.argv[1])
model = importlib.util.module_from_spec(spec)
spec.loader.exec_module(model)
loaded = set(sys.modules) & {"nasgen", "safetensors", "optax", "orbax", "sklearn"}
assert not {"nasgen", "safetensors"} & loaded, loaded
images, variables = np.load(sys.argv[2]), model.load()
x = model.standardise(images)
np.save(sys.argv[3], np.concatenate([model.logits(variables, part) for part in (x[:4], x[4:])]))
print(json.dumps(model.predict(images, variables, batch_size=4).tolist()))
# Training mode: the batch's statistics are used and recorded.
train = jax.jit(lambda v, x: model.Network().apply(v, x, mutable=["batch_stats"]))
_, changed = train(variables, x)
before, after = variables["batch_stats"]["stem"], changed["batch_stats"]["stem"]
assert float(np.abs(before["mean"] - after["mean"]).max()) > 1e-3
"""
)


def test_source_alone_gives_the_same_logits(exported, tmp_path):
    np.save(tmp_path / "images.npy", exported.images)
    model, images, logits = exported.folder / "model.py", "images.npy", "logits.npy"
    done = run_alone("-c", SCRIPT, str(model), images, logits, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / logits), exported.logits, rtol=1e-5, atol=1e-5)
    assert json.loads(done.stdout) == exported.logits.argmax(-1).tolist()


def test_source_gives_the_same_where_convolutions_are_native(exported, monkeypatch):
    """As on GPU and TPU, where depthwise convolutions are not written as shifts, nor those of one
    pixel as products: of every other pixel XLA may abort on a GPU (openxla/xla#47381)."""
    model, traced = _module(exported), []
    monkeypatch.setattr(jax, "default_backend", lambda: traced.append(0) or "gpu")
    network = jax.jit(lambda variables, x: model.Network().apply(variables, x))
    logits = network(exported.variables, model.standardise(exported.images))
    np.testing.assert_allclose(logits, exported.logits, rtol=1e-5, atol=1e-5)
    layers = [step.layer for step in exported.plan.steps]
    asking = [one.kind == "depthwise" or (one.kind, one.kernel) == ("conv", 1) for one in layers]
    assert len(traced) >= sum(asking)


def test_command_line_prints_a_class_a_line(exported, tmp_path):
    np.save(tmp_path / "images.npy", exported.images)
    done = run_alone(str(exported.folder / "model.py"), "images.npy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [int(line) for line in done.stdout.split()] == exported.logits.argmax(-1).tolist()


def test_command_line_says_what_shape_it_needs(exported, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((2, 5, 5, 2), np.float32))
    done = run_alone(str(exported.folder / "model.py"), "images.npy", cwd=tmp_path)
    assert done.returncode == 2
    expected = "error: examples must be [number, 6, 7, 2]; got [2, 5, 5, 2]."
    assert done.stderr.strip().splitlines() == [expected]


@pytest.fixture(scope="module")
def program(exported):
    data = (exported.folder / "model.stablehlo").read_bytes()
    return export.from_stablehlo(data, TASK.input_shape, (TASK.num_classes,))


@pytest.mark.parametrize("batch", [1, 7])
def test_stablehlo_runs_for_any_batch(exported, program, batch):
    logits = program.call(exported.images[:batch])
    np.testing.assert_allclose(logits, exported.logits[:batch], rtol=1e-5, atol=1e-5)


def test_jax_reads_its_own_export(exported):
    """The `export` extra (flatbuffers) is among the test requirements."""
    program = jax.export.deserialize((exported.folder / "model.jax_export").read_bytes())
    logits = program.call(exported.images[:3])
    np.testing.assert_allclose(logits, exported.logits[:3], rtol=1e-5, atol=1e-5)
    assert program.platforms == stablehlo.PLATFORMS
    text = program.mlir_module()  # any batch; the platform's number picks one of two lowerings
    assert "tensor<i32>" in text and "tensor<?x6x7x2xf32>" in text and "stablehlo.case" in text


def test_stablehlo_holds_the_weights_once(exported):
    """Both lowerings share them: the program's text without weights is far below a second copy
    in a network as large as this one is made to be."""
    wide = exported.variables["params"]["head_conv"]["kernel"]
    small = len((exported.folder / "model.stablehlo").read_bytes())
    task = TASK._replace(num_classes=2000)
    plan = make_plan(ARCHITECTURE, OPS, task)
    variables = jax.tree.map(np.array, exported.variables)
    rng = np.random.default_rng(0)
    classifier = rng.normal(size=(wide.shape[-1], 2000)).astype(np.float32)
    bias = np.zeros(2000, np.float32)
    variables["params"]["classifier"] = {"kernel": classifier, "bias": bias}
    mean, std = np.float32(MEAN), np.float32(STD)
    program = export.export_program(plan, variables, mean=mean, std=std)
    large = len(program.mlir_module_serialized)
    assert 0.9 * classifier.nbytes < large - small < 1.5 * classifier.nbytes


def test_weights_are_bit_equal(exported):
    flat = load_file(exported.folder / "weights.safetensors")
    wanted = export.flat_weights(exported.variables)
    assert "params/stage1_cell0_node1_expand/kernel" in flat
    assert flat.keys() == wanted.keys()
    for name, array in wanted.items():
        assert flat[name].dtype == np.float32
        assert flat[name].tobytes() == array.tobytes(), name
    again = export.read_weights(exported.folder / "weights.safetensors")
    assert jax.tree.structure(again) == jax.tree.structure(exported.variables)


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_truncated_weights_are_one_clear_error(exported, tmp_path, keep):
    raw = (exported.folder / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(raw[:keep])
    with pytest.raises(ValueError, match="damaged or cut short"):
        export.read_weights(tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="damaged or cut short"):
        _module(exported).read_safetensors(tmp_path / "weights.safetensors")


def test_truncated_weights_at_the_command_line(exported, tmp_path):
    for name in ("model.py", "weights.safetensors"):
        raw = (exported.folder / name).read_bytes()
        (tmp_path / name).write_bytes(raw if name == "model.py" else raw[:-4])
    np.save(tmp_path / "images.npy", exported.images)
    done = run_alone(str(tmp_path / "model.py"), "images.npy", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and "cut short" in done.stderr


def _module(exported: Exported):
    import importlib.util

    spec = importlib.util.spec_from_file_location("model", exported.folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_weights_of_another_network_are_refused(exported, tmp_path):
    variables = jax.tree.map(np.array, exported.variables)
    variables["params"]["stem"]["scale"] = np.ones(9, np.float32)
    export.write_weights(tmp_path / "w.safetensors", variables)
    with pytest.raises(ValueError, match=r"another network: params/stem/scale is \(9,\)"):
        _module(exported).load(tmp_path / "w.safetensors")


# ---- the source of many networks ----------------------------------------------------------------


def _random_architectures(num: int) -> list[Architecture]:
    cells = graphs.unpack(SPACE.sample(jax.random.key(3), 60))
    rng = np.random.default_rng(0)
    macros = macro.sample(jax.random.key(4), num, num_clusters=4, size=8, max_channels=1024)
    return [
        Architecture(each, tuple(cells[i] for i in rng.integers(0, 60, len(each.stages))))
        for each in macros
    ]


def _source(architecture: Architecture, task: Task = TASK) -> str:
    plan = make_plan(architecture, OPS, task)
    return export.model_source(
        plan,
        architecture=architecture,
        ops=OPS,
        task=task,
        mean=np.float32(MEAN),
        std=np.float32(STD),
    )


def test_source_of_any_network_is_tidy_and_complete():
    for architecture in _random_architectures(40):
        text, plan = _source(architecture), make_plan(architecture, OPS, TASK)
        tree = ast.parse(text)
        assert max(map(len, text.splitlines())) <= 100
        assert "stand-in" not in text and "nasgen" not in text
        names = [k.value.value for k in ast.walk(tree) if isinstance(k, ast.keyword)
                 and k.arg == "name"]  # fmt: skip
        bare = [s.name for s in plan.steps if s.name.endswith("_sum")]
        assert names == [s.name for s in plan.steps if s.name not in bare]


def test_source_shapes_of_any_network_are_the_plans():
    """Traced, not run: the arrays that the source creates are those of the plan."""
    for architecture in _random_architectures(2):
        plan = make_plan(architecture, OPS, TASK)
        scope = {"__name__": "model", "__file__": "model.py"}
        exec(compile(_source(architecture), "model.py", "exec"), scope)
        x = jax.ShapeDtypeStruct((2, *TASK.input_shape), np.float32)
        found = jax.eval_shape(scope["Network"]().init, jax.random.key(0), x)
        wanted = init_network(jax.random.key(0), plan)
        assert jax.tree.map(lambda a: a.shape, found) == jax.tree.map(lambda a: a.shape, wanted)


def test_task_names_cannot_leave_the_docstring():
    text = _source(ARCHITECTURE, TASK._replace(name='x"""\nimport os; os.abort()\n"""\\'))
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import)]
    assert not any(name.name == "os" for node in imports for name in node.names)


# ---- the folder ---------------------------------------------------------------------------------


def test_json_files(exported):
    data = json.loads((exported.folder / "architecture.json").read_text())
    assert architecture_from_json(data, SPACE) == ARCHITECTURE
    assert Task(**{**data["task"], "input_shape": TASK.input_shape, "class_names": ()}) == TASK
    preprocess = json.loads((exported.folder / "preprocess.json").read_text())
    assert preprocess["input_shape"] == [6, 7, 2] and preprocess["scale"] is None
    assert preprocess["num_classes"] == 3 and preprocess["class_names"] is None
    assert np.float32(preprocess["mean"]).tolist() == np.float32(MEAN).tolist()
    assert np.float32(preprocess["std"]).tolist() == np.float32(STD).tolist()


def test_export_is_replaced_but_nothing_else_is(exported, tmp_path):
    folder = tmp_path / "network"
    folder.mkdir()
    (folder / "model.py").write_text("old")
    export_small(folder, exported.plan, exported.variables)
    assert (folder / "model.py").read_text() == (exported.folder / "model.py").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["network"]
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="thesis.txt"):
        export_small(folder, exported.plan, exported.variables)
    assert (folder / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preprocess": {"mean": [1.0], "std": [1.0]}}, "2 numbers, one a channel"),
        ({"preprocess": {"mean": MEAN, "std": [1.0, 0.0]}}, "must be above 0"),
        ({"card": {"test_acuracy": 0.9}}, "test_acuracy"),
        ({"architecture": CHAIN}, "networks of tabular spaces cannot be exported"),
    ],
)
def test_bad_arguments_leave_no_folder(exported, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        export_small(tmp_path / "network", exported.plan, exported.variables, **changes)
    assert list(tmp_path.iterdir()) == []


def test_variables_of_another_plan_are_refused(exported, tmp_path):
    variables = jax.tree.map(np.array, exported.variables)
    del variables["params"]["stem"]["scale"]
    with pytest.raises(ValueError, match="params/stem/scale must be .*; got nothing"):
        export_small(tmp_path / "network", exported.plan, variables)
