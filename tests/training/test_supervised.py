"""A small network learns the digits; evaluation is exact; every option of the loss and of the run
does what it says, alone and with all others."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy

from nasgen.data import load
from nasgen.networks.network import Network as PlanNetwork
from nasgen.networks.network import init_network
from nasgen.networks.plans.open import make_plan
from nasgen.spaces import SPACES
from nasgen.training.classifier import (
    classification_loss,
    distillation_loss,
    evaluate,
    train_classifier,
)
from nasgen.training.recipe import Recipe
from nasgen.types import Architecture, Cell, MacroArchitecture, Op, Stage

OPEN = SPACES["open"]
CELL = Cell((OPEN.ops.index(Op("mbconv_2", 3)),), ((0, 1), (0, 2), (1, 2)))
SMALL = Architecture(MacroArchitecture((Stage(0, 16, 2, 1),), 32), (CELL,))


class Linear(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        return nn.Dense(10, kernel_init=nn.initializers.zeros)(x.reshape(len(x), -1))


class Network(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        for width in (8, 16):
            x = nn.Conv(width, (3, 3), (2, 2), use_bias=False)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        return nn.Dense(10)(x.mean((1, 2)))


@pytest.fixture(scope="module")
def data():
    return load("digits", seed=0)


@pytest.fixture(scope="module")
def variables(data):
    return jax.jit(Network().init)(jax.random.key(0), data.train.x[:1])


def test_learns_digits(data, variables, tmp_path):
    recipe = Recipe(steps=200, eval_every=20, ema=0.98)
    trained = train_classifier(
        Network(), variables, data, recipe, seed=0, workdir=tmp_path, label=None
    )
    assert trained.accuracy > 0.9
    evals = [row for row in trained.history if row["kind"] == "eval"]
    assert [row["step"] for row in evals] == list(range(20, 201, 20))
    best = max(row["accuracy"] for row in evals)
    assert trained.accuracy == best
    assert trained.step == [row["step"] for row in evals if row["accuracy"] == best][-1]
    # What is returned is what was measured.
    apply_fn = partial(Network().apply, train=False)
    scores = evaluate(apply_fn, trained.variables, *data.validation, batch_size=64)
    assert scores["accuracy"] == trained.accuracy
    assert jax.tree.structure(trained.variables) == jax.tree.structure(variables)
    again = train_classifier(
        Network(), variables, data, recipe, seed=0, workdir=tmp_path, label=None
    )
    assert again.compile_seconds == 0 and again.history == trained.history
    jax.tree.map(np.testing.assert_array_equal, again.variables, trained.variables)


def test_network_without_statistics_trains(data):
    module = Linear()
    variables = module.init(jax.random.key(0), data.train.x[:1])
    trained = train_classifier(module, variables, data, Recipe(steps=2), seed=0, label=None)
    assert trained.variables.keys() == {"params"}


def test_evaluation_is_exact_and_compiles_once(data, variables):
    traces = []

    def apply_fn(weights, x):
        traces.append(x.shape)
        return Network().apply(weights, x, train=False)

    x, y = data.validation
    logits = Network().apply(variables, x)
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    for count in (1, 63, 64, 100, len(y)):
        scores = evaluate(apply_fn, variables, x[:count], y[:count], batch_size=64)
        right = np.asarray(logits)[:count].argmax(-1) == y[:count]
        assert scores["accuracy"] == right.sum() / count
        assert np.isclose(scores["loss"], np.mean(nll[:count]), rtol=1e-5)
    assert traces == [(64, 8, 8, 1)]


def test_cross_entropy_by_hand(variables, data):
    x, y = jnp.asarray(data.train.x[:8]), data.train.y[:8]
    state = {"batch_stats": variables["batch_stats"]}
    targets = 0.8 * np.eye(10, dtype=np.float32)[y] + 0.02
    loss_fn = classification_loss(Network(), Recipe())
    key = jax.random.key(0)
    loss, (new_state, _) = loss_fn(variables["params"], state, (x, targets), key)
    logits, _ = Network().apply(variables, x, train=True, mutable=["batch_stats"])
    log_p = np.asarray(jax.nn.log_softmax(logits))
    assert np.isclose(loss, -(targets * log_p).sum(-1).mean(), rtol=1e-5)
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), new_state, state)
    assert all(jax.tree.leaves(moved))


def test_distillation_is_zero_at_the_teacher_and_mixes_into_the_loss():
    logits, taught = jax.random.normal(jax.random.key(0), (2, 5, 4))
    assert float(distillation_loss(logits, logits, 3.0)) == pytest.approx(0, abs=1e-6)
    for temperature in (1.0, 4.0):
        p, q = (scipy.special.softmax(np.asarray(a) / temperature, -1) for a in (taught, logits))
        wanted = temperature**2 * scipy.stats.entropy(p, q, axis=-1).mean()
        assert float(distillation_loss(logits, taught, temperature)) == pytest.approx(wanted, 1e-4)

    module, x = Linear(), jnp.ones((5, 2))
    params = {"Dense_0": {"kernel": jnp.zeros((2, 10)), "bias": jnp.arange(10.0)}}
    targets, key = jax.nn.one_hot(jnp.arange(5), 10), jax.random.key(1)
    teacher = partial(jnp.full, (5, 10))  # equal logits, whatever the images

    def loss(part: float, teacher=None) -> float:
        loss_fn = classification_loss(module, Recipe(distillation=part), teacher)
        return float(loss_fn(params, {}, (x, targets), key)[0])

    alone, taught = loss(0.0), loss(1.0, lambda x: jnp.zeros((5, 10)))
    assert loss(0.3, lambda x: jnp.zeros((5, 10))) == pytest.approx(0.7 * alone + 0.3 * taught)
    assert loss(0.0, teacher) == alone  # a teacher of no weight is not asked


def weights_of(trained) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trained.variables)]


def test_distillation_follows_the_teacher_not_the_labels(data):
    """A teacher that calls every image the class after the true one, by the labels' own logits."""
    rows = jnp.asarray(data.train.x.reshape(len(data.train.y), -1))
    classes = jnp.asarray((data.train.y + 1) % 10)

    def teacher(x):
        near = jnp.argmax(x.reshape(len(x), -1) @ rows.T - 0.5 * jnp.sum(rows**2, 1)[None], 1)
        return 10 * jax.nn.one_hot(classes[near], 10)

    module, recipe = Linear(), Recipe(steps=80, distillation=1.0, max_shift=0, learning_rate=0.02)
    start = module.init(jax.random.key(0), data.train.x[:1])
    trained = train_classifier(module, start, data, recipe, seed=0, teacher=teacher, label=None)
    logits = module.apply(trained.variables, data.test.x)
    assert np.mean(np.asarray(logits.argmax(-1)) == (data.test.y + 1) % 10) > 0.8
    with pytest.raises(ValueError, match="`teacher` must be given .* got 1 and no teacher"):
        train_classifier(module, start, data, recipe, seed=0, label=None)


def test_bf16_is_computed_in_and_nothing_that_is_kept(data):
    plan = make_plan(SMALL, OPEN.ops, data.task)
    start = init_network(jax.random.key(0), plan)
    stats = {"batch_stats": start["batch_stats"]}
    batch = jnp.asarray(data.train.x[:8]), jax.nn.one_hot(data.train.y[:8], 10)

    def types(bf16: bool) -> tuple[set, str]:
        loss_fn = classification_loss(PlanNetwork(plan), Recipe(bf16=bf16))
        gradient = jax.value_and_grad(loss_fn, has_aux=True)
        arguments = start["params"], stats, batch, jax.random.key(0)
        shapes = jax.tree.leaves(jax.eval_shape(gradient, *arguments))
        return {leaf.dtype for leaf in shapes}, str(jax.make_jaxpr(gradient)(*arguments))

    kept, program = types(bf16=True)
    assert kept == {jnp.dtype("float32")} and "bf16[8,8,8,16]" in program
    kept, program = types(bf16=False)
    assert kept == {jnp.dtype("float32")} and "bf16" not in program


@pytest.mark.slow
def test_bf16_learns(data):
    plan = make_plan(SMALL, OPEN.ops, data.task)
    module, start = PlanNetwork(plan), init_network(jax.random.key(0), plan)
    recipe = Recipe(steps=60, batch_size=32, eval_every=60, ema=0.9, learning_rate=0.05, bf16=True)
    trained = train_classifier(module, start, data, recipe, seed=0, label=None)
    assert trained.accuracy > 0.3
    assert all(leaf.dtype == np.float32 for leaf in weights_of(trained))
    images = jnp.asarray(data.train.x[:32])
    forward = jax.jit(partial(module.apply, train=True, mutable=["batch_stats"]))
    exact, _ = forward(start, images)
    logits, _ = forward(start, images.astype(jnp.bfloat16))
    apart = np.abs(np.asarray(logits) - exact).max() / np.abs(exact).max()
    assert 1e-6 < apart < 0.1  # near, and not the same: bfloat16 has 8 bits


def test_early_stopping_keeps_the_best(data, tmp_path):
    """A learning rate that forgets: the best evaluation comes early."""
    module = Linear()
    recipe = Recipe(steps=400, eval_every=2, patience=3, learning_rate=0.5, warmup_fraction=0.0)
    start = module.init(jax.random.key(0), data.train.x[:1])
    trained = train_classifier(module, start, data, recipe, seed=0, workdir=tmp_path, label=None)
    evals = [(row["step"], row["accuracy"]) for row in trained.history if row["kind"] == "eval"]
    accuracies = [accuracy for _, accuracy in evals]
    first = accuracies.index(max(accuracies))
    assert len(evals) == first + 1 + 3 and evals[-1][0] < 400
    assert trained.accuracy == max(accuracies) and evals[first][0] <= trained.step


ALL_ON = Recipe(
    steps=12,
    batch_size=32,
    max_shift=1,
    flip=True,
    ema=0.9,
    clip_norm=5.0,
    min_crop=0.5,
    auto_augment="cifar10",
    erasing=0.5,
    mixup=0.2,
    distillation=0.5,
    temperature=2.0,
    bf16=True,
    micro_batches=2,
    patience=9,
    eval_every=4,
    checkpoint_every=5,
)


@pytest.mark.slow
def test_all_options_at_once_resume_to_the_same_bits(data, tmp_path):
    module = Linear()

    class Stop(Exception):
        pass

    def stop(row):
        if row["step"] >= 8:
            raise Stop

    train = partial(
        train_classifier,
        *(module, module.init(jax.random.key(0), data.train.x[:1]), data, ALL_ON),
        seed=0,
        teacher=lambda x: x.reshape(len(x), -1)[:, :10],
        label=None,
    )
    straight = train(workdir=tmp_path / "straight")
    with pytest.raises(Stop):
        train(workdir=tmp_path / "stopped", on_metrics=stop)
    resumed = train(workdir=tmp_path / "stopped")
    for a, b in zip(weights_of(resumed), weights_of(straight), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in straight.history]
    assert len({row["loss"] for row in straight.history}) == len(straight.history)
    folders = sorted(path.name for path in (tmp_path / "stopped" / "checkpoints").iterdir())
    best = f"best-{straight.step:08d}"
    assert folders == [best, "step-00000010", "step-00000012"]  # the best and the last two
