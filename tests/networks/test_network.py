"""The network of a plan: its tree of weights, its two modes, its initialisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nasgen.networks import network as networks
from nasgen.networks.costs import count, count_many
from nasgen.networks.network import Network
from nasgen.networks.plan import Layer
from nasgen.networks.plans.open import make_plan, op_layers
from nasgen.proxies.engine import check_batch
from nasgen.spaces import SPACES
from nasgen.spaces.formats import architecture_from_json, architecture_to_json
from nasgen.types import Architecture, Cell, MacroArchitecture, Op, Stage, Task

OPS = SPACES["open"].ops
CODE = {op: index for index, op in enumerate(OPS)}
TASK = Task("toy", (9, 7, 3), 5)


def op(kind: str, kernel: int) -> int:
    return CODE[Op(kind, kernel)]


# Between them: a stride with and without a change of width, a raw op before a pool, sums, a chain.
CELLS = (
    Cell(
        (op("sep_conv", 3), op("avg_pool", 3), op("bconv_05", 3)),
        ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (0, 4)),
    ),
    Cell((op("avg_pool", 5), op("conv", 3)), ((0, 1), (0, 2), (1, 2), (2, 3))),
)
MACRO = MacroArchitecture((Stage(0, 8, 2, 2), Stage(1, 16, 1, 1)), 24)
PLAN = make_plan(Architecture(MACRO, CELLS), OPS, TASK)
IMAGES = jax.random.normal(jax.random.key(0), (4, *TASK.input_shape))


@pytest.fixture(scope="module")
def variables():
    return networks.init_network(jax.random.key(1), PLAN)


def test_init_network_has_the_tree_of_linen(variables):
    linen = jax.eval_shape(Network(PLAN).init, jax.random.key(0), IMAGES)
    assert jax.tree.structure(variables) == jax.tree.structure(linen)
    shapes = [(x.shape, x.dtype) for x in jax.tree.leaves(linen)]
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(variables)] == shapes


def test_init_is_pure_in_the_key_and_no_two_layers_are_alike(variables):
    again = networks.init_network(jax.random.key(1), PLAN)
    other = networks.init_network(jax.random.key(2), PLAN)
    jax.tree.map(np.testing.assert_array_equal, variables, again)
    kernels = lambda tree: [w["kernel"] for w in tree["params"].values() if "kernel" in w]  # noqa: E731
    firsts = [float(kernel.ravel()[0]) for kernel in kernels(variables) + kernels(other)]
    assert len(set(firsts)) == len(firsts)


LAYERS = {
    "dense": (Layer("conv", 16, 64, 3, bias=True), 9 * 16),
    "depthwise": (Layer("depthwise", 512, 512, 5), 25),
    "linear": (Layer("linear", 32, 100, bias=True), 32),
}


@pytest.mark.parametrize("draw", ["host", "linen"])
@pytest.mark.parametrize("name", LAYERS)
def test_weights_are_drawn_as_pytorch_does(name, draw):
    # Uniform within 1 / sqrt(fan_in); torch.nn.Conv2d and Linear, "reset_parameters".
    layer, fan_in = LAYERS[name]
    if draw == "host":
        weights = networks.draw_weights(np.random.default_rng(0), layer)
    else:
        weights = networks.init_weights(jax.random.key(0), layer)
    for array in weights.values():
        scaled = np.asarray(array).ravel() * np.sqrt(fan_in)
        tolerance = 5 / np.sqrt(len(scaled))
        assert np.abs(scaled).max() <= 1 + 1e-6 and np.abs(scaled).max() > 0.9
        assert abs(scaled.mean()) < tolerance and abs((scaled**2).mean() - 1 / 3) < tolerance


def test_evaluation_leaves_the_statistics_alone(variables):
    apply = jax.jit(lambda v, x: Network(PLAN).apply(v, x, mutable=["batch_stats"]))
    logits, changed = apply(variables, IMAGES)
    assert logits.shape == (4, 5) and np.isfinite(logits).all()
    jax.tree.map(np.testing.assert_array_equal, changed["batch_stats"], variables["batch_stats"])
    # An example's logits do not depend on the others in its batch.
    others, _ = apply(variables, IMAGES.at[1:].multiply(-3))
    np.testing.assert_allclose(others[:1], logits[:1], atol=1e-5)
    assert jnp.abs(others[1:] - logits[1:]).min() > 1e-5


@pytest.fixture(scope="module")
def trained(variables):
    train = jax.jit(lambda v, x: Network(PLAN).apply(v, x, train=True, mutable=["batch_stats"]))
    return train(variables, IMAGES)


def test_training_moves_the_statistics_a_tenth_of_the_way(variables, trained):
    logits, changed = trained
    assert np.isfinite(logits).all()
    stats = changed["batch_stats"]
    assert jax.tree.structure(stats) == jax.tree.structure(variables["batch_stats"])
    stem = jax.lax.conv(
        IMAGES.transpose(0, 3, 1, 2),
        variables["params"]["stem"]["kernel"].transpose(3, 2, 0, 1),
        (1, 1),
        "SAME",
    )
    mean, variance = stem.mean((0, 2, 3)), stem.var((0, 2, 3))
    np.testing.assert_allclose(stats["stem"]["mean"], 0.1 * mean, atol=1e-5)
    np.testing.assert_allclose(stats["stem"]["variance"], 0.9 + 0.1 * variance, atol=1e-5)
    for name, old in variables["batch_stats"].items():
        if name != "head_norm":  # what it sees is normalised already
            moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), stats[name], old)
            assert min(moved.values()) > 1e-4, name


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="XLA may abort: openxla/xla#47381")
def test_lowerings_give_the_same_logits(variables, trained):
    for lowering in ("shifts", "native"):
        model = Network(PLAN, lowering)
        apply = jax.jit(lambda v, x, m=model: m.apply(v, x, train=True, mutable=["batch_stats"])[0])
        np.testing.assert_allclose(apply(variables, IMAGES), trained[0], atol=1e-4)


def test_a_projection_that_nobody_reads_is_there_all_the_same():
    # Both ops hang on the input alone, so they take it raw; the projection has no reader.
    cell = Cell((op("conv", 1), op("conv", 3)), ((0, 1), (0, 2), (1, 3), (2, 3)))
    macro = MacroArchitecture((Stage(0, 8, 2, 1),), 8)
    plan = make_plan(Architecture(macro, (cell,)), OPS, TASK)
    names = [step.name for step in plan.steps]
    projection = 1 + names.index("stage0_cell0_proj")
    assert not any(projection in step.inputs for step in plan.steps)
    variables = networks.init_network(jax.random.key(3), plan)
    linen = jax.eval_shape(Network(plan).init, jax.random.key(0), IMAGES)
    assert variables["params"]["stage0_cell0_proj"]["kernel"].shape == (1, 1, 8, 8)
    assert "stage0_cell0_proj" in linen["params"]


def test_the_cell_rules_by_hand():
    # Stage 1 changes the width, 8 to 16, at stride 1. Its first op takes the raw input and makes
    # the change; its second sums that and the projected input.
    steps = {step.name: step for step in PLAN.steps}
    index = {name: i + 1 for i, name in enumerate(steps)}  # value 0 is the images
    before = index["stage0_cell1_sum"]
    projection, pool = steps["stage1_cell0_proj"], steps["stage1_cell0_node1_pool"]
    match, conv = steps["stage1_cell0_node1_match"], steps["stage1_cell0_node2_conv"]
    assert projection.inputs == pool.inputs == (before,)
    assert projection.layer == Layer("conv", 8, 16, relu=True, norm="affine")
    assert pool.layer == Layer("avg_pool", 8, 8, 5, norm="plain")
    assert match.layer == Layer("conv", 8, 16, relu=True, bias=True, norm="affine")
    assert conv.inputs == (index["stage1_cell0_proj"], index["stage1_cell0_node1_match"])
    assert "stage1_cell0_sum" not in steps  # the output has one parent
    # Stage 0 halves 9 x 7 in its first cell only, and only in ops on the raw input.
    strides = {name: step.layer.stride for name, step in steps.items() if step.layer.stride == 2}
    assert set(strides) == {
        "stage0_cell0_proj",
        "stage0_cell0_node1_depthwise",
        "stage0_cell0_node2_pool",
    }
    assert steps["classifier"].in_size == (5, 4) and steps["classifier"].out_size == (1, 1)


@pytest.mark.parametrize(
    ("kind", "inner"), [("mbconv_6", 48), ("mbconv_2", 16), ("bconv_05", 4), ("bconv_025", 2)]
)
def test_bottlenecks_by_hand(kind, inner):
    # ReLU, 1x1, BN; ReLU, depthwise, BN; ReLU, 1x1, BN. The depthwise convolution has the stride.
    layers = [layer for _, layer in op_layers(Op(kind, 5), 8, 16, 2)]
    assert layers == [
        Layer("conv", 8, inner, 1, 1, relu=True, norm="affine"),
        Layer("depthwise", inner, inner, 5, 2, relu=True, norm="affine"),
        Layer("conv", inner, 16, 1, 1, relu=True, norm="affine"),
    ]


def test_excitation_scales_channels_and_costs_what_it_should():
    """Squeeze-and-excitation stands behind the depthwise convolution of bconv_05 alone."""
    cell = Cell((op("bconv_05", 3),), ((0, 1), (0, 2), (1, 2)))
    macro = MacroArchitecture((Stage(0, 32, 1, 1),), 8)
    plain, excited = (
        make_plan(Architecture(macro, (cell,), ratio), OPS, TASK) for ratio in (0.0, 0.25)
    )
    counted = [count(plan) for plan in (plain, excited)]
    assert counted[1].params - counted[0].params == 2 * 16 * 4 + 2 * (4 + 16)
    assert counted[1].macs - counted[0].macs == 2 * 16 * 4

    variables = networks.init_network(jax.random.key(0), excited)
    linen = jax.eval_shape(Network(excited).init, jax.random.key(0), IMAGES)
    assert jax.tree.structure(variables) == jax.tree.structure(linen)
    gate = "stage0_cell0_node1_excite_expand"
    for shift, factor in ((-50.0, 0.0), (50.0, 1.0)):  # of the last norm: shut, wide open
        weights = {**variables["params"][gate], "scale": jnp.zeros(16)}
        weights["shift"] = jnp.full(16, shift)
        changed = {**variables, "params": {**variables["params"], gate: weights}}
        found = Network(excited).apply(changed, IMAGES)
        kept = {n: w for n, w in variables["params"].items() if "excite" not in n}
        project = "stage0_cell0_node1_project"
        kept[project] = {**kept[project], "kernel": factor * kept[project]["kernel"]}
        stats = {n: s for n, s in variables["batch_stats"].items() if "excite" not in n}
        wanted = Network(plain).apply({"params": kept, "batch_stats": stats}, IMAGES)
        np.testing.assert_allclose(found, wanted, atol=1e-5)

    architecture = Architecture(macro, (cell,), 0.25)
    written = architecture_to_json(architecture, SPACES["open"])
    assert architecture_from_json(written, SPACES["open"]) == architecture
    with pytest.raises(ValueError, match="`excitation` must be in 0..1"):
        architecture_from_json({**written, "excitation": 2.0}, SPACES["open"])
    with pytest.raises(ValueError, match="must have no excitation"):
        count_many([architecture], OPS, TASK)
    with pytest.raises(ValueError, match="without squeeze-and-excitation"):
        check_batch(excited, np.asarray(IMAGES), np.arange(4))
