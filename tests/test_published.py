"""Networks by name: the published parameters exactly, any task, clear refusals."""

import json

import jax
import jax.numpy as jnp
import pytest

import nasgen
from nasgen import published
from nasgen.networks.network import init_network
from nasgen.published import handmade
from nasgen.spaces import formats
from nasgen.spaces.open import SPACE

STORED = json.loads(published._FILE.read_text())
FAMILIES = {"cifar": "hgen_cifar_1m", "imagenet450m": "hgen_imagenet_450m"}


def test_names_and_patterns():
    assert len(nasgen.list_models("hgen_*")) == 20
    for first in FAMILIES.values():
        names = nasgen.list_models(f"{first}*")
        assert names == [first, *(f"{first}_{number}" for number in range(2, 11))]
    made = ["resnet20", "mobilenet_v2"]
    assert nasgen.list_models() == [*nasgen.list_models("hgen_*"), *made]
    assert nasgen.list_models("resnet*") == ["resnet20"]
    assert {published.origin_of(name) for name in made} == {handmade.ORIGIN}
    assert "Xiang" in published.origin_of("hgen_cifar_1m")


@pytest.mark.parametrize("name", published.list_models("hgen_*"))
def test_params_are_the_published_ones(name):
    """The linear layer has a number for each class, for each channel and for the bias."""
    model = nasgen.create_model(name)
    assert model.params == STORED["networks"][name]["params"]
    few = nasgen.create_model(name, num_classes=10)
    width, classes = model.architecture.macro.final_width, model.task.num_classes
    assert few.params == model.params - (width + 1) * (classes - 10)


@pytest.mark.parametrize("name", FAMILIES)
def test_architectures_are_those_of_the_authors(reference_dir, name):
    rows = json.loads((reference_dir / f"hgen_networks_{name}.json").read_text())
    for model, row in zip(published.list_models(f"{FAMILIES[name]}*"), rows, strict=True):
        made = nasgen.create_model(model)
        assert made.architecture == formats.architecture_from_json(row, SPACE)
        assert made.params == row["stored"]["params"] and made.macs == row["counted_macs"]


def test_module_and_plan_are_one_network():
    """Traced, not run: the module's own variables hold so many parameters, and give logits."""
    model = nasgen.create_model("hgen_cifar_1m_3", num_classes=7, input_shape=(9, 8, 1))
    x = jax.ShapeDtypeStruct((2, 9, 8, 1), jnp.float32)
    with jax.numpy_rank_promotion("allow"):
        made = jax.eval_shape(model.module.init, jax.random.key(0), x)
        logits = jax.eval_shape(model.module.apply, made, x)
    wanted = init_network(jax.random.key(0), model.plan)
    assert jax.tree.map(lambda a: a.shape, made) == jax.tree.map(lambda a: a.shape, wanted)
    assert sum(leaf.size for leaf in jax.tree.leaves(made["params"])) == model.params
    assert logits.shape == (2, 7) and model.task.input_shape == (9, 8, 1)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("hgen_cifar", {}, "got 'hgen_cifar', the nearest is 'hgen_cifar_1m'"),
        ("x", {}, "must be one of `list_models\\(\\)`; got 'x'"),
        ("hgen_cifar_1m", {"num_classes": 1}, "`num_classes` must be at least 2; got 1"),
        ("hgen_cifar_1m", {"input_shape": (32,)}, r"must be \(height, width, channels\)"),
        ("hgen_imagenet_450m", {"input_shape": (32, 31, 3)}, "a side of at least 33 pixels"),
    ],
)
def test_bad_requests(name, options, says):
    with pytest.raises(ValueError, match=says) as caught:
        nasgen.create_model(name, **options)
    assert "\n" not in str(caught.value)


def test_the_least_size_is_enough():
    assert nasgen.create_model("hgen_imagenet_450m", input_shape=(33, 33, 3)).macs > 0
