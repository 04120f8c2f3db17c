"""Named networks trained as a user types it: two steps, then all that a finished run has."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from experiments import run
from experiments.configs import paper_cifar, paper_imagenet450m
from nasgen.networks.network import Network, init_network
from nasgen.pipeline import config as rules
from nasgen.pipeline import train_model
from nasgen.pipeline.task_data import recipe_of
from nasgen.published import create_model
from nasgen.spaces.formats import architecture_to_json
from nasgen.spaces.open import SPACE
from nasgen.training.recipe import optimizer, preparation
from nasgen.training.state import init_state, train_step
from nasgen.training.supervised import task_loss
from nasgen.types import Architecture, Cell, MacroArchitecture, Stage

ARCHITECTURE = Architecture(
    MacroArchitecture((Stage(0, 8, 2, 1),), 16), (Cell((1,), ((0, 1), (0, 2), (1, 2))),)
)


def _images(path, side: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (30, side, side, 3), np.uint8), np.arange(30) % 3
    np.savez(path, x=x, y=y)


_CONFIG = """
from experiments.configs import {name}

def get_config():
    config = {name}.get_config()
    config.task.dataset = config.task.size = None
    return config
"""


def _arguments(tmp_path, name: str, *more: str) -> list[str]:
    """The shipped config, but for the data set."""
    (tmp_path / "config.py").write_text(_CONFIG.format(name=name))
    return [
        "run.py",
        f"--config={tmp_path / 'config.py'}",
        f"--workdir={tmp_path / 'run'}",
        "--config.compilation_cache=false",
        "--config.task.name=npz",
        f"--config.task.path={tmp_path / 'tiny.npz'}",
        "--config.train.steps=2",
        "--config.train.batch_size=8",
        *more,
    ]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Images of 8 pixels, and the architecture.json of a network of five layers."""
    monkeypatch.chdir(run.Path(run.__file__).parents[1])
    _images(tmp_path / "tiny.npz", 8)
    written = {**architecture_to_json(ARCHITECTURE, SPACE), "task": {"stem_stride": 2}}
    (tmp_path / "architecture.json").write_text(json.dumps(written))
    return tmp_path


def _check_run(folder) -> dict:
    results = json.loads((folder / "results.json").read_text())
    assert 0 <= results["test_accuracy"] <= 1 and results["test_examples"] == 6
    for name in ("latency_ms_measured", "latency_ms_measured_32", "seconds_total"):
        assert results[name] > 0
    assert {path.name for path in (folder / "network").iterdir()} >= {"model.py", "predict.py"}
    return results


def test_an_earlier_network_is_trained_on_other_data(tiny):
    model = f"--config.model={tiny / 'architecture.json'}"
    assert run.main(_arguments(tiny, "paper_cifar", model)) == 0
    results = _check_run(tiny / "run")
    # stem 3 x 3 x 3 x 8, a projection and an op of 8 x 8, the last one 8 x 16, the classifier
    assert results["params"] < 2_000
    card = (tiny / "run" / "network" / "README.md").read_text()
    for words in (
        "architecture of an earlier network",
        "18 images to train on, 6 to choose by, 6 for the test",
        "95 % interval",
        "Latency (ms, one image, on ",
        "Latency (ms, 32 images at once, on ",
        "| Wall time | train ",
        "| steps | 2 |",
    ):
        assert words in card, words
    form = json.loads((tiny / "run" / "network" / "preprocess.json").read_text())
    assert form["scale"] == 1.0 and form["channels"] == "RGB"


@pytest.mark.slow
@pytest.mark.parametrize(("module", "side"), [(paper_cifar, 4), (paper_imagenet450m, 33)])
def test_the_papers_networks_take_two_steps(tiny, module, side):
    """Of the config's recipe, op by op: to compile a step of some 300 layers takes minutes.

    Natively, which is fewer ops. Without excitation: of four tiny images the gradient at the start
    is of the order of 1e9 through so many batch norms, with it of 1e13, and float32 overflows."""
    _images(tiny / "tiny.npz", side)
    config = module.get_config()
    config.task.dataset = config.task.size = None
    config.task.name, config.task.path = "npz", str(tiny / "tiny.npz")
    config.train.batch_size, config.train.excitation = 4, 0.0
    chosen, recipe = train_model.choose(config), recipe_of(config)
    named = create_model(config.model, num_classes=3, input_shape=(side, side, 3))
    assert named.plan == chosen.plan
    tx, network = optimizer(recipe), Network(chosen.plan, "native")
    variables = init_network(jax.random.key(0), chosen.plan)
    stats = {"batch_stats": variables["batch_stats"]}
    state = init_state(variables["params"], tx, jax.random.key(0), model_state=stats)
    prepare = preparation(recipe, chosen.dataset)
    step = train_step(task_loss(network, recipe, chosen.dataset.task), tx, prepare_fn=prepare)
    batch = tuple(part[:4] for part in chosen.dataset.train)
    with jax.numpy_rank_promotion("allow"):
        for _ in range(2):
            state, values = step(state, jax.tree.map(jnp.asarray, batch))
            assert 0 < values["loss"] < 100
    assert state.step == 2
    before, after = (flatten_dict(one, sep="/") for one in (variables["params"], state.params))
    assert all(np.isfinite(one).all() for one in after.values())
    # Gradients alone move them: decay, at the first rates, is below float32's resolution. A scale
    # before ReLU, depthwise and another norm has no gradient while all shifts are zero.
    kernels = [name for name in before if name.endswith("/kernel")]
    assert not [name for name in kernels if (before[name] == after[name]).all()]


@pytest.mark.parametrize("module", [paper_cifar, paper_imagenet450m])
def test_shipped_configs_are_valid(module):
    rules.check(module.get_config().lock(), train_model.RULES)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("--config.model=hgen_cifar_2m", "the nearest is 'hgen_cifar_1m'"),
        ("--config.model=hgen_imagenet_450m", "a side of at least 33 pixels"),
        ("--config.model=nowhere.json", "must be the architecture.json of an export"),
        ("--config.train.batch_size=64", "at most the 18 training examples"),
        ("--config.train.steps=0", "`config.train.steps` must be"),
    ],
)
def test_bad_requests_are_one_line(tiny, capsys, override, says):
    assert run.main(_arguments(tiny, "paper_cifar", override)) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error")]
    assert says in line
    assert not (tiny / "run").exists()
