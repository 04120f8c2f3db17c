"""Brief training: the gradient is JAX's, the steps are the recipe's, evaluation is exact."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nasgen.data import load
from nasgen.data.digits import TASK as DIGITS
from nasgen.data.task import Split
from nasgen.networks import padding
from nasgen.networks.network import MOMENTUM, Network, draw_weights
from nasgen.networks.plan import Plan, weight_shapes
from nasgen.networks.plans.open import make_plan
from nasgen.networks.programs import PROGRAMS
from nasgen.training import brief
from nasgen.training.brief import BriefRecipe
from nasgen.training.recipe import Recipe, optimizer, preparation
from nasgen.training.supervised import task_loss
from nasgen.training.units import units_of
from nasgen.types import METRICS, Architecture, MacroArchitecture, Stage, Task
from tests.networks.test_walks import BATCH, CELLS, OPEN, PLANS, quick_jit
from tests.training.test_supervised import REACHED, made

PLAIN = BriefRecipe(steps=(6,), batch_size=32, warmup=2, max_shift=0)


@pytest.fixture(params=PLANS)
def plan(request) -> Plan:
    return PLANS[request.param]


@pytest.fixture(scope="module")
def digits():
    data = load("digits", seed=0)
    return Split(data.train.x[:256], data.train.y[:256]), data.validation


def small_plan(task: Task) -> Plan:
    macro = MacroArchitecture((Stage(0, 8, 1, 1), Stage(0, 12, 2, 1)), 16)
    return make_plan(Architecture(macro, CELLS[1:]), OPEN.ops, task)


@pytest.fixture(scope="module")
def small() -> Plan:
    return small_plan(DIGITS)


def true_weights(plan: Plan, seed: int = 0):
    """Random everything, norms too, at true widths."""
    rng = np.random.default_rng(seed)
    weights = [draw_weights(rng, step.layer) for step in plan.steps]
    for w in weights:
        if "scale" in w:
            w["scale"] = rng.uniform(0.5, 1.5, w["scale"].shape).astype(np.float32)
            w["shift"] = rng.normal(size=w["shift"].shape).astype(np.float32)
    return weights


def variables_of(plan: Plan, weights, statistics=None):
    params = {s.name: w for s, w in zip(plan.steps, weights, strict=True) if w}
    stats = {}
    for index, step in enumerate(plan.steps):
        if step.layer.norm != "none":
            n = step.layer.out_channels
            mean, variance = (np.zeros(n), np.ones(n)) if statistics is None else statistics[index]
            stats[step.name] = {"mean": mean[:n], "variance": variance[:n]}
    return {"params": params, "batch_stats": stats}


def test_gradients_are_those_of_jax(plan):
    rng, weights = np.random.default_rng(3), true_weights(plan)
    images = rng.normal(size=(BATCH, *plan.input_shape)).astype(np.float32)
    shape = (BATCH, *plan.target_shape)
    labels = np.arange(np.prod(shape), dtype=np.int32).reshape(shape) % plan.num_classes
    loss, rows = brief.loss_gradient(plan, padding.pad_plan(plan, weights), images, labels)

    def linen_loss(params, variables):
        model = Network(plan, "native")
        variables = {**variables, "params": params}
        x = jnp.asarray(images, jnp.float64)
        logits, _ = model.apply(variables, x, train=True, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    with jax.enable_x64(True):
        as64 = lambda tree: jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), tree)  # noqa: E731
        variables = as64(variables_of(plan, weights))
        gradient = quick_jit(jax.value_and_grad(linen_loss))
        expected, gradients = jax.device_get(gradient(variables["params"], variables))
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    vector = brief.lay_out(plan)
    found = brief.views(vector, brief.gather(vector, rows))
    largest = max(np.abs(g).max() for g in jax.tree.leaves(gradients))
    for step, row in zip(plan.steps, found, strict=True):
        for name, shape in weight_shapes(step.layer).items():
            if name == "bias" and step.layer.norm != "none":
                continue  # none in theory
            theirs = np.asarray(gradients[step.name][name])
            scale = max(np.abs(theirs).max(), 1e-2 * largest)
            ours = padding.crop(row[name], shape)
            np.testing.assert_allclose(ours, theirs, atol=2e-4 * scale, rtol=0, err_msg=step.name)
            assert np.count_nonzero(row[name]) == np.count_nonzero(ours)  # padding stays zero


KINDS = [("classification", 2), ("multi_label", 2), ("regression", 1), ("dense_regression", 1)]


@pytest.mark.parametrize(("kind", "dims"), KINDS)
def test_losses_are_those_of_whole_training(kind, dims):
    """The same weights, batches and recipe: the same losses, step by step."""
    data, recipe = made(kind, dims), PLAIN._replace(decays=True, clip_norm=0.3)
    plan, parts = small_plan(data.task), (data.train, data.validation)
    units = units_of(data)
    found = brief.train_briefly(plan, data.task, *parts, recipe, seed=3, units=units)
    rng = np.random.default_rng([3, 0])
    variables = variables_of(plan, [draw_weights(rng, step.layer) for step in plan.steps])
    common = dict(steps=6, batch_size=32, clip_norm=0.3, max_shift=0)
    theirs = Recipe(**common, warmup_fraction=2 / 6, label_smoothing=0.0)
    loss_fn, tx = task_loss(Network(plan), theirs, data.task), optimizer(theirs)
    prepare = jax.jit(preparation(theirs, data))
    params, stats = variables["params"], {"batch_stats": variables["batch_stats"]}
    state, losses = tx.init(params), []
    step = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))
    batch = brief.epoch_batches(*data.train, 32, seed=3)
    for number in range(6):
        prepared = prepare(batch(number), jax.random.key(0))
        (loss, (stats, _)), g = step(params, stats, prepared, jax.random.key(0))
        updates, state = tx.update(g, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    np.testing.assert_allclose(found.train_losses, losses, rtol=2e-3)
    assert losses[-1] != pytest.approx(losses[0], rel=0.02)  # they did move


def test_maps_of_targets_move_with_their_images():
    """Of a task in which each pixel's number is its own brightness, whatever is moved."""
    x = np.random.default_rng(0).normal(size=(8, 6, 5, 1)).astype(np.float32)
    moved, targets = brief._prepared(jax.random.key(0), x, 3 * x, None, 2, True, True)
    np.testing.assert_allclose(targets, 3 * moved, rtol=1e-6)
    assert np.any(np.asarray(moved) != x)
    _, whole = brief._prepared(jax.random.key(0), x, x[:, 0, 0], None, 2, True, False)
    np.testing.assert_array_equal(whole, x[:, 0, 0])


@pytest.mark.parametrize(("kind", "dims"), [("multi_label", 2), ("dense_regression", 1)])
def test_every_kind_is_judged_by_its_metric_in_its_units(kind, dims):
    data = made(kind, dims)
    plan, recipe = small_plan(data.task), BriefRecipe(steps=(60,), batch_size=32, max_shift=0)
    parts = data.train, data.validation
    found = brief.train_briefly(plan, data.task, *parts, recipe, seed=0, units=units_of(data))
    reached, guessed = REACHED[kind]
    higher = METRICS[data.task.metric].higher
    middle = (reached + guessed) / 2  # a tenth of its training is not all of it
    assert found.values[0] > middle if higher else found.values[0] < middle
    assert found.losses[0] < found.train_losses[0]


def test_evaluation_is_the_networks_own(small, digits):
    weights = true_weights(small, 1)
    padded = padding.pad_plan(small, weights)
    batches = [digits[0].x[i : i + 50] for i in (0, 50)]
    statistics = brief.settle(small, padded, batches)
    accuracy, loss = brief.evaluate(small, DIGITS, padded, statistics, digits[1], 50)
    model = Network(small)
    variables = variables_of(small, weights, statistics)
    logits = jax.jit(partial(model.apply, train=False))(variables, digits[1].x)
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, digits[1].y).mean()
    np.testing.assert_allclose(loss, nll, rtol=1e-4)
    assert accuracy == pytest.approx(float((logits.argmax(-1) == digits[1].y).mean()), abs=0.003)
    # Statistics of one batch are those that training mode moves the running ones to.
    one = brief.settle(small, padded, batches[:1])
    train = quick_jit(partial(model.apply, train=True, mutable=["batch_stats"]))
    _, moved = train(variables_of(small, weights), batches[0])
    for index, step in enumerate(small.steps):
        if step.layer.norm != "none":
            n = step.layer.out_channels
            stats = moved["batch_stats"][step.name]
            np.testing.assert_allclose(one[index][0][:n] * (1 - MOMENTUM), stats["mean"], atol=1e-5)


def test_learns_and_repeats_itself(small, digits):
    recipe = BriefRecipe(steps=(20, 60), batch_size=64, warmup=10)
    first, again = (brief.train_briefly(small, DIGITS, *digits, recipe, seed=0) for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_array_equal(first.train_losses, again.train_losses)
    assert first.values[1] > 0.5 and first.losses[1] < first.losses[0]
    other = brief.train_briefly(small, DIGITS, *digits, recipe, seed=1)
    assert not np.array_equal(first.train_losses, other.train_losses)


def test_signatures_are_exactly_what_training_runs(small, digits):
    ran = set()

    def run(name, constants, *arrays):
        ran.add(brief.Signature(name, arrays[0].shape, constants))
        return PROGRAMS.run(name, constants, *arrays)

    brief.train_briefly(small, DIGITS, *digits, PLAIN._replace(steps=(1,)), seed=0, run=run)
    assert set(brief.signatures(small, 32)) == ran


def test_learning_rates_warm_up_and_stay_or_decay():
    recipe = BriefRecipe(steps=(10, 50), warmup=10, learning_rate=0.2)
    rates = [brief.learning_rate(recipe, step) for step in range(50)]
    assert rates[0] == pytest.approx(0.02) and rates[10:] == [0.2] * 40
    assert np.all(np.diff(rates[:11]) > 0)
    schedule = optax.warmup_cosine_decay_schedule(0.02, 0.2, 10, 50)
    decayed = [brief.learning_rate(recipe._replace(decays=True), step) for step in range(50)]
    np.testing.assert_allclose(decayed, [float(schedule(i)) for i in range(50)], rtol=1e-4)


def test_a_run_that_diverges_says_nan(small, digits):
    recipe = PLAIN._replace(steps=(1, 30), learning_rate=1e20, warmup=1)
    found = brief.train_briefly(small, DIGITS, *digits, recipe, seed=0)
    assert np.isfinite(found.values[0]) and np.isnan(found.values[1])
