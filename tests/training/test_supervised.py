"""Small networks learn tasks of each kind; evaluation is exact; every option of the loss and of the
run does what it says, alone and with all others."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy

from nasgen.data import load
from nasgen.data.arrays import from_arrays
from nasgen.data.digits import TASK as DIGITS
from nasgen.data.task import Dataset, Split
from nasgen.networks.network import Network as PlanNetwork
from nasgen.networks.network import init_network
from nasgen.networks.plans.open import make_plan
from nasgen.spaces import SPACES
from nasgen.training.recipe import Recipe
from nasgen.training.supervised import distillation_loss, evaluate, task_loss, train_network
from nasgen.training.units import in_units, units_of
from nasgen.types import KINDS, METRICS, Architecture, Cell, MacroArchitecture, Op, Stage

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
    trained = train_network(
        Network(), variables, data, recipe, seed=0, workdir=tmp_path, label=None
    )
    assert trained.value > 0.9
    evals = [row for row in trained.history if row["kind"] == "eval"]
    assert [row["step"] for row in evals] == list(range(20, 201, 20))
    best = max(row["accuracy"] for row in evals)
    assert trained.value == best
    assert trained.step == [row["step"] for row in evals if row["accuracy"] == best][-1]
    # What is returned is what was measured.
    apply_fn = partial(Network().apply, train=False)
    scores = evaluate(apply_fn, trained.variables, data.validation, data.task, batch_size=64)
    assert scores.value == trained.value
    assert jax.tree.structure(trained.variables) == jax.tree.structure(variables)
    again = train_network(Network(), variables, data, recipe, seed=0, workdir=tmp_path, label=None)
    assert again.compile_seconds == 0 and again.history == trained.history
    jax.tree.map(np.testing.assert_array_equal, again.variables, trained.variables)


def test_network_without_statistics_trains(data):
    module = Linear()
    variables = module.init(jax.random.key(0), data.train.x[:1])
    trained = train_network(module, variables, data, Recipe(steps=2), seed=0, label=None)
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
        split = Split(x[:count], y[:count])
        scores = evaluate(apply_fn, variables, split, data.task, batch_size=64)
        right = np.asarray(logits)[:count].argmax(-1) == y[:count]
        assert scores.value == right.sum() / count and len(scores.rows) == count
        assert np.isclose(scores.loss, np.mean(nll[:count]), rtol=1e-5)
    assert traces == [(64, 8, 8, 1)]


def test_cross_entropy_by_hand(variables, data):
    x, y = jnp.asarray(data.train.x[:8]), data.train.y[:8]
    state = {"batch_stats": variables["batch_stats"]}
    targets = jnp.asarray(0.8 * np.eye(10, dtype=np.float32)[y] + 0.02)
    loss_fn = task_loss(Network(), Recipe(), data.task)
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
        loss_fn = task_loss(module, Recipe(distillation=part), DIGITS, teacher)
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
    trained = train_network(module, start, data, recipe, seed=0, teacher=teacher, label=None)
    logits = module.apply(trained.variables, data.test.x)
    assert np.mean(np.asarray(logits.argmax(-1)) == (data.test.y + 1) % 10) > 0.8
    with pytest.raises(ValueError, match="`teacher` must be given .* got 1 and no teacher"):
        train_network(module, start, data, recipe, seed=0, label=None)


def test_bf16_is_computed_in_and_nothing_that_is_kept(data):
    plan = make_plan(SMALL, OPEN.ops, data.task)
    start = init_network(jax.random.key(0), plan)
    stats = {"batch_stats": start["batch_stats"]}
    batch = jnp.asarray(data.train.x[:8]), jax.nn.one_hot(data.train.y[:8], 10)

    def types(bf16: bool) -> tuple[set, str]:
        loss_fn = task_loss(PlanNetwork(plan), Recipe(bf16=bf16), data.task)
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
    trained = train_network(module, start, data, recipe, seed=0, label=None)
    assert trained.value > 0.3
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
    trained = train_network(module, start, data, recipe, seed=0, workdir=tmp_path, label=None)
    evals = [(row["step"], row["accuracy"]) for row in trained.history if row["kind"] == "eval"]
    accuracies = [accuracy for _, accuracy in evals]
    first = accuracies.index(max(accuracies))
    assert len(evals) == first + 1 + 3 and evals[-1][0] < 400
    assert trained.value == max(accuracies) and evals[first][0] <= trained.step


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
        train_network,
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


# ---- other kinds than classification ------------------------------------------------------------


class Dense(nn.Module):
    """Something for each place, images or series."""

    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        kernel = (3,) * (x.ndim - 2)
        x = nn.Conv(8, kernel, use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        return nn.Dense(self.outputs)(x)


class Pooled(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        x = Dense(8)(x, train=train)
        pooled = x.mean(tuple(range(1, x.ndim - 1)))
        return nn.Dense(self.outputs, name="head")(pooled)


def made(kind: str, dims: int) -> Dataset:
    """A task that a small network can learn: what is asked for is in the inputs, place by place."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 2, (300, *(8,) * dims, 2)).astype(np.float32)
    x += rng.normal(0, 1, (300, *(1,) * dims, 2)).astype(np.float32)
    pooled = x.mean(tuple(range(1, dims + 1)))
    y = {
        "classification": (pooled[:, 0] > 0).astype(int) + (pooled[:, 1] > 0),
        "multi_label": (pooled > 0.3).astype(int),
        "regression": pooled * [100, 0.01] + [500, 3],
        "segmentation": (x[..., 0] > 0).astype(int) + (x[..., 1] > 1),
        "dense_regression": np.abs(x[..., :1]) * 50 + 1000,
    }[kind]
    return from_arrays(x, y, kind=kind, dims=dims)


# The least that 60 steps must reach, and what guessing the commonest or the mean would.
REACHED = {
    "classification": (0.7, 0.6),
    "multi_label": (0.85, 0.5),
    "regression": (20, 34),
    "segmentation": (0.5, 0.2),
    "dense_regression": (20, 40),
}


# Each kind once, in one of its shapes; the others are slow for the number of programs.
QUICK = {("multi_label", 1), ("regression", 2), ("segmentation", 1), ("dense_regression", 2)}
CASES = [
    pytest.param(kind, dims, marks=() if (kind, dims) in QUICK else pytest.mark.slow)
    for kind in KINDS
    for dims in (1, 2)
]


@pytest.mark.parametrize(("kind", "dims"), CASES)
def test_every_kind_is_learned_chosen_by_its_metric_and_measured_in_its_units(kind, dims):
    data = made(kind, dims)
    task, higher = data.task, METRICS[data.task.metric].higher
    module = (Dense if kind in ("segmentation", "dense_regression") else Pooled)(task.num_classes)
    start = jax.jit(module.init)(jax.random.key(0), data.train.x[:1])
    recipe = Recipe(steps=60, batch_size=32, max_shift=0, eval_every=20)
    trained = train_network(module, start, data, recipe, seed=0, label=None)
    reached, guessed = REACHED[kind]
    assert trained.value > reached > guessed if higher else trained.value < reached < guessed
    values = [row[task.metric] for row in trained.history if row["kind"] == "eval"]
    assert trained.value == (max if higher else min)(values) and len(set(values)) > 1
    losses = [row["loss"] for row in trained.history]
    assert losses[-1] < losses[0]
    # The same in batches of any size, the last of which is filled up.
    units, apply_fn = units_of(data), partial(module.apply, train=False)
    x, y = data.validation
    if units is None:
        again = evaluate(apply_fn, trained.variables, data.validation, task, batch_size=7)
        assert len(y) == 60 and again.value == pytest.approx(trained.value, rel=1e-5)
        return
    found = np.asarray(apply_fn(trained.variables, jnp.asarray(x))) * units.std + units.mean
    assert trained.value == pytest.approx(np.abs(found - y).mean(), rel=1e-4)
    layer = "head" if kind == "regression" else "Dense_0"
    scaled = in_units(trained.variables, layer, units)
    np.testing.assert_allclose(apply_fn(scaled, jnp.asarray(x)), found, rtol=1e-4)
    alone = evaluate(apply_fn, scaled, data.validation, task, batch_size=7)
    assert alone.value == pytest.approx(trained.value, rel=1e-4)
    assert jax.tree.structure(scaled) == jax.tree.structure(trained.variables)
    with pytest.raises(ValueError, match="must have a kernel and a bias to scale; 'stem' has"):
        in_units(trained.variables, "stem", units)


def test_guessing_is_as_bad_as_said():
    """`REACHED` is no matter of course."""
    for kind, (_, guessed) in REACHED.items():
        data = made(kind, 2)
        units, y = units_of(data), data.validation.y
        outputs = (*y.shape, data.task.num_classes) if y.dtype == np.int32 else y.shape
        guess = np.zeros(outputs[-1], np.float32)
        if units is None:
            guess[0 if kind == "multi_label" else np.bincount(y.ravel()).argmax()] = 1
        found = evaluate(
            lambda _, x, shape=outputs[1:], g=guess: jnp.broadcast_to(g, (len(x), *shape)),
            {},
            data.validation,
            data.task,
            units=units,
        )
        higher = METRICS[data.task.metric].higher
        assert found.value < guessed if higher else found.value > guessed, (kind, found.value)


def test_a_regression_that_was_stopped_ends_as_if_it_had_not(tmp_path):
    data = made("regression", 2)
    module = Pooled(2)
    start = jax.jit(module.init)(jax.random.key(0), data.train.x[:1])
    recipe = Recipe(steps=12, batch_size=32, eval_every=4, checkpoint_every=5, ema=0.9)

    class Stop(Exception):
        pass

    def stop(row):
        if row["step"] >= 8:
            raise Stop

    train = partial(train_network, module, start, data, recipe, seed=0, label=None)
    straight = train(workdir=tmp_path / "straight")
    with pytest.raises(Stop):
        train(workdir=tmp_path / "stopped", on_metrics=stop)
    resumed = train(workdir=tmp_path / "stopped")
    for a, b in zip(weights_of(resumed), weights_of(straight), strict=True):
        np.testing.assert_array_equal(a, b)
    assert resumed[1:3] == straight[1:3]
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in straight.history]
    # An error: the lowest is the best.
    errors = {r["step"]: r["mean_absolute_error"] for r in straight.history if r["kind"] == "eval"}
    assert straight.value == min(errors.values()) == errors[straight.step]


@pytest.mark.parametrize(
    ("task", "recipe", "says"),
    [
        (dict(loss="hinge"), Recipe(), "`loss` of made must be 'mean_squared_error'"),
        (dict(metric="accuracy"), Recipe(), "`metric` of made must be one of .*got 'accuracy'"),
        (dict(), Recipe(mixup=0.2), "`mixup` must be off for made, regression of images"),
        (dict(), Recipe(batch_size=200), "`batch_size` must be in 1..180"),
    ],
)
def test_what_a_task_cannot_be_trained_with_is_refused_before_any_work(task, recipe, says):
    data = made("regression", 2)
    data = data._replace(task=data.task._replace(name="made", **task))
    with pytest.raises(ValueError, match=says):
        train_network(Pooled(2), {}, data, recipe, seed=0)
