"""The ONNX graph: the same logits for any batch, or none and a word why."""

import json
import sys
from types import ModuleType, SimpleNamespace

import jax
import numpy as np
import pytest

from nasgen import export
from nasgen.export import onnx_model
from nasgen.export.onnx_model import OnnxError, onnx_graph
from nasgen.networks.network import Network
from nasgen.networks.plans.open import make_plan
from nasgen.spaces.open import OPS
from tests.export.small import (
    ARCHITECTURE,
    MEAN,
    STD,
    TASK,
    export_small,
    make_exported,
    variables_of,
)

FORM = {"mean": np.float32(MEAN), "std": np.float32(STD)}


@pytest.fixture(scope="module", autouse=True)
def _lenient_ranks():
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def network():
    plan = make_plan(ARCHITECTURE, OPS, TASK)
    return plan, variables_of(plan)


@pytest.mark.slow
def test_the_graph_has_jaxs_logits_for_any_batch(tmp_path):
    pytest.importorskip("jax2onnx", reason="needs the extra `onnx`")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    made = make_exported(tmp_path / "network")
    graph = made.folder / "model.onnx"
    assert "not written" not in (made.folder / "README.md").read_text()
    for _ in range(2):
        session = onnxruntime.InferenceSession(graph.read_bytes())
        (given,), (wanted,) = session.get_inputs(), session.get_outputs()
        assert (given.name, given.shape, wanted.name) == ("images", ["b", 6, 7, 2], "logits")
        for batch in (1, 3, 7):
            (logits,) = session.run(None, {"images": made.images[:batch]})
            np.testing.assert_allclose(logits, made.logits[:batch], rtol=1e-4, atol=1e-4)
        graph.unlink()
        assert export.add_onnx(made.folder) == graph


class _Stand:
    """jax2onnx and onnxruntime of another make: they keep the function, and are off by `gap`."""

    def __init__(self, monkeypatch, gap: float):
        self.gap = gap
        for name in onnx_model.NEEDED:
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        sys.modules["jax2onnx"].to_onnx = self.to_onnx
        sys.modules["onnxruntime"].InferenceSession = lambda graph, providers: self
        monkeypatch.setattr(onnx_model, "missing", lambda: [])

    def to_onnx(self, function, inputs, **options):
        self.function, self.inputs, self.options = function, inputs, options
        return SimpleNamespace(SerializeToString=lambda: b"graph")

    def run(self, names, given):
        logits = np.asarray(jax.jit(self.function)(given["images"]))
        return (logits + self.gap * max(1, np.abs(logits).max()),)


def test_what_is_converted_is_the_whole_network(network, monkeypatch):
    plan, variables = network
    stand = _Stand(monkeypatch, 0)
    assert onnx_graph(plan, variables, **FORM) == b"graph"
    images = np.random.default_rng(0).uniform(0, 16, (2, *TASK.input_shape)).astype(np.float32)
    x = (images - FORM["mean"]) / FORM["std"]
    wanted = jax.jit(Network(plan).apply)(variables, x)
    np.testing.assert_allclose(stand.run(None, {"images": images})[0], wanted, rtol=1e-4, atol=1e-4)
    assert stand.inputs == [("b", *TASK.input_shape)]
    assert stand.options["input_names"] == ["images"]


@pytest.mark.parametrize("gap", [2e-4, -2e-4, np.nan])
def test_a_graph_that_differs_is_not_kept(network, monkeypatch, gap):
    _Stand(monkeypatch, gap)
    with pytest.raises(OnnxError, match=r"its logits differ by .* from JAX's, more than 0.0001"):
        onnx_graph(*network, **FORM)


def test_a_small_gap_is_kept(network, monkeypatch):
    _Stand(monkeypatch, 5e-5)
    assert onnx_graph(*network, **FORM) == b"graph"


def test_a_converter_that_fails_is_one_line(network, monkeypatch):
    stand = _Stand(monkeypatch, 0)
    sys.modules["jax2onnx"].to_onnx = lambda *_, **__: stand.absent
    with pytest.raises(OnnxError, match=r"^the conversion failed, AttributeError: [^\n]*absent"):
        onnx_graph(*network, **FORM)


def test_without_the_extra_the_folder_has_none_and_the_card_says_how(
    network, tmp_path, monkeypatch
):
    monkeypatch.setattr(onnx_model, "NEEDED", ("jax2onnx_is_not_here",))
    paths = export_small(tmp_path / "network", *network)
    assert "model.onnx" not in [path.name for path in paths]
    card = (tmp_path / "network" / "README.md").read_text()
    assert "jax2onnx_is_not_here is not installed: pip install" in card
    assert "`nasgen.export.add_onnx(FOLDER)`" in card
    with pytest.raises(OnnxError, match=r'pip install "nasgen\[onnx\]"'):
        export.add_onnx(tmp_path / "network")


def test_add_onnx_builds_the_network_of_the_folder(network, tmp_path, monkeypatch):
    """Strides, classes and standardisation are those of the files."""
    task = TASK._replace(num_classes=5, stem_stride=2)
    plan = make_plan(ARCHITECTURE, OPS, task)
    variables = variables_of(plan)
    with monkeypatch.context() as patch:
        patch.setattr(onnx_model, "missing", lambda: ["jax2onnx"])
        export_small(tmp_path / "network", plan, variables, task=task)
    stand = _Stand(monkeypatch, 0)
    assert export.add_onnx(tmp_path / "network").read_bytes() == b"graph"
    images = np.random.default_rng(0).uniform(0, 16, (2, *TASK.input_shape)).astype(np.float32)
    wanted = jax.jit(Network(plan).apply)(variables, (images - FORM["mean"]) / FORM["std"])
    np.testing.assert_allclose(stand.run(None, {"images": images})[0], wanted, rtol=1e-4, atol=1e-4)
    (tmp_path / "network" / "architecture.json").write_text(json.dumps({"task": {}}))
    with pytest.raises(ValueError, match="`folder` must be an export"):
        export.add_onnx(tmp_path / "network")
