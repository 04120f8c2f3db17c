"""Brief training of many different networks, with no compile for each.

A network is walked over compiled programs (`networks/walks`), forward and backward; its weights lie
in one vector, which the host updates: SGD with Nesterov momentum and weight decay on kernels, as
`recipe` has it. The learning rate stays constant after its warm-up and what is evaluated is a
running average of the weights (polynomial-decay averaging, Shamir and Zhang, ICML 2013), so that
one run gives an honest accuracy at every number of steps. Evaluated networks use batch statistics
gathered anew, with the averaged weights, on training images.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Num

from nasgen.data.augment import moved
from nasgen.data.batches import epoch_batches
from nasgen.data.task import Split
from nasgen.networks import affine, padding, walks
from nasgen.networks.network import draw_weights
from nasgen.networks.padding import Weights, padded_layer
from nasgen.networks.plan import Plan, weight_shapes
from nasgen.networks.programs import PROGRAMS, Signature
from nasgen.training import task_metrics
from nasgen.training.losses import LOSSES
from nasgen.training.units import Units, standardised
from nasgen.types import Task

_ALIGN = 16  # numbers: arrays in the vector begin where a processor likes to read


class BriefRecipe(NamedTuple):
    """How a network is trained.

    steps: when it is evaluated, ascending; the last ends the run. warmup: steps, linear.
    decays: a cosine to zero at the last step instead of a constant learning rate. average: power of
    the averaging (a weight's part grows like step ^ average); 0 evaluates the last weights.
    statistics: batches that batch statistics are gathered on. Others as in `recipe.Recipe`.
    """

    steps: tuple[int, ...] = (50, 100, 200, 400)
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float = 0.0
    warmup: int = 20
    max_shift: int = 1
    flip: bool = False
    decays: bool = False
    average: float = 8.0
    statistics: int = 8


class Brief(NamedTuple):
    """values, losses: the task's metric and mean loss on the evaluation examples at each of the
    recipe's `steps`. train_losses: of every step's batch. seconds: wall, of it all."""

    values: Float[np.ndarray, " evaluations"]
    losses: Float[np.ndarray, " evaluations"]
    train_losses: Float[np.ndarray, " steps"]
    seconds: float


class Vector(NamedTuple):
    """Where a plan's padded arrays lie in one vector.

    places: of each step, by name, the start and the shape. decayed: 1 where weight decay acts.
    """

    size: int
    places: tuple[dict[str, tuple[int, tuple[int, ...]]], ...]
    decayed: Float[np.ndarray, " size"]


def lay_out(plan: Plan) -> Vector:
    """The places of all trainable arrays of a plan."""
    size, places, kernels = 0, [], []
    for step in plan.steps:
        shapes = weight_shapes(padded_layer(step.layer))
        row = {}
        for name, shape in shapes.items():
            row[name] = size, shape
            if name == "kernel":
                kernels.append(slice(size, size + int(np.prod(shape))))
            size += -(-int(np.prod(shape)) // _ALIGN) * _ALIGN
        places.append(row)
    decayed = np.zeros(size, np.float32)
    for span in kernels:
        decayed[span] = 1
    return Vector(size, tuple(places), decayed)


def gather(vector: Vector, weights: Sequence[dict[str, Any]]) -> Float[np.ndarray, " size"]:
    """Arrays, one dict a step, as one vector; what is missing or None is zero."""
    found = np.zeros(vector.size, np.float32)
    for row, arrays in zip(vector.places, weights, strict=True):
        for name, (start, shape) in row.items():
            if arrays.get(name) is not None:
                number = int(np.prod(shape))
                found[start : start + number] = np.asarray(arrays[name]).reshape(-1)[:number]
    return found


def views(vector: Vector, values: Float[np.ndarray, " size"]) -> list[Weights]:
    """The arrays of every step, as views of `values`."""
    return [
        {n: values[start : start + int(np.prod(s))].reshape(s) for n, (start, s) in row.items()}
        for row in vector.places
    ]


def fresh_weights(rng: np.random.Generator, plan: Plan) -> list[Weights]:
    """Weights as `network` draws them, padded."""
    return padding.pad_plan(plan, [draw_weights(rng, step.layer) for step in plan.steps])


def loss_gradient(
    plan: Plan,
    weights: Sequence[Weights],
    x: Float[np.ndarray, "batch *places channels"],
    targets: Num[np.ndarray, "batch *target"],
    run=PROGRAMS.run,
) -> tuple[float, list[dict[str, Any]]]:
    """The mean of the plan's loss and its gradient by every array, padded (a bias before a batch
    norm has none)."""
    of_norms: dict[int, tuple[Any, Any]] = {}
    norm = affine.batch_norm(weights, of_norms)
    forward = walks.walk_forward(plan, weights, padding.pad_images(x), run, norm=norm)
    last = forward.values[-1]
    loss, seed = _mean_loss(plan.loss, _logits(plan, last), targets)
    seed = np.asarray(seed).reshape(last.shape)
    back = walks.walk_backward(plan, weights, forward, seed, run, norm=norm)
    rows: list[dict[str, Any]] = [{} if dw is None else {"kernel": dw} for dw in back.kernels]
    for index, (by_scale, by_shift) in of_norms.items():
        rows[index] |= {"scale": by_scale, "shift": by_shift}
    by_bias = seed.reshape(-1, seed.shape[-1]).sum(0)
    for step, row in zip(plan.steps, rows, strict=True):
        if step.layer.bias and step.layer.norm == "none":  # logits, or what is doubled to logits
            row["bias"] = by_bias
    return float(loss), rows


def _logits(plan: Plan, value: Any) -> Float[np.ndarray, "batch *places outputs"]:
    """Of walks, in which series have a column."""
    value = np.asarray(value)
    places = plan.input_shape[:-1] if value.ndim > 2 else ()
    return value.reshape(len(value), *places, plan.num_classes)


@partial(jax.jit, static_argnums=0)
@partial(jax.value_and_grad, argnums=1)
def _mean_loss(name: str, logits: Array, targets: Array) -> Array:
    return LOSSES[name](logits, targets).mean()


def train_briefly(
    plan: Plan,
    task: Task,
    train: Split,
    evaluation: Split,
    recipe: BriefRecipe = BriefRecipe(),  # noqa: B008 (immutable)
    *,
    seed: int,
    units: Units | None = None,
    run=PROGRAMS.run,
    on_step: Callable[[int], None] = lambda done: None,
) -> Brief:
    """Trains fresh weights on `train` and evaluates them on `evaluation` by the task's metric.
    Everything random follows from `seed`. units: of targets that are numbers (`units_of`). A loss
    that is no longer finite ends the run: what is left of it is NaN."""
    started = time.perf_counter()
    vector, rng = lay_out(plan), np.random.default_rng([seed, 0])
    values = gather(vector, fresh_weights(rng, plan))
    momentum, average = np.zeros_like(values), values
    batch_size = min(recipe.batch_size, len(train.y))
    batch = epoch_batches(train.x, train.y, batch_size, seed=seed)
    key = jax.random.key(seed)
    found, train_losses = [], np.full(recipe.steps[-1], np.nan)
    for step in range(recipe.steps[-1]):
        x, y = batch(step)
        change = recipe.max_shift, recipe.flip, task.is_dense
        ready = _prepared(jax.random.fold_in(key, step), x, y, units, *change)
        x, y = (np.asarray(part) for part in ready)
        loss, gradients = loss_gradient(plan, views(vector, values), x, y, run)
        train_losses[step] = loss
        if not np.isfinite(loss):
            break
        g = clipped(gather(vector, gradients), recipe.clip_norm)
        g = g + np.float32(recipe.weight_decay) * vector.decayed * values
        momentum = np.float32(recipe.momentum) * momentum + g
        rate = np.float32(learning_rate(recipe, step))
        values = values - rate * (g + np.float32(recipe.momentum) * momentum)
        part = (recipe.average + 1) / (step + 1 + recipe.average) if recipe.average else 1.0
        average = average + np.float32(part) * (values - average)
        if step + 1 in recipe.steps:
            weights = views(vector, average)
            seen = settle(plan, weights, _plain(batch, step, recipe.statistics), run)
            options = dict(units=units, run=run)
            found.append(evaluate(plan, task, weights, seen, evaluation, batch_size, **options))
        on_step(step + 1)
    found += [(np.nan, np.nan)] * (len(recipe.steps) - len(found))
    return Brief(*np.array(found).T, train_losses, time.perf_counter() - started)


def clipped(g: Float[np.ndarray, " size"], most: float) -> Float[np.ndarray, " size"]:
    """A gradient, shortened to that norm where it is longer; as it is where `most` is 0."""
    norm = np.linalg.norm(g)
    return g * np.float32(most / norm) if 0 < most < norm else g


def learning_rate(recipe: BriefRecipe, step: int) -> float:
    """Of a step, counted from 0: as `recipe.optimizer` has it, but constant after the warm-up
    where the recipe does not decay."""
    peak, warmup = recipe.learning_rate, max(recipe.warmup, 1)
    if step < warmup:
        return peak * (1 + (warmup - 1) * step / warmup) / warmup
    if not recipe.decays:
        return peak
    left = max(recipe.steps[-1], warmup + 1) - warmup
    return peak * 0.5 * (1 + np.cos(np.pi * min((step - warmup) / left, 1.0)))


@partial(jax.jit, static_argnums=(4, 5, 6))
def _prepared(
    key: Array, x: Array, y: Array, units: Units | None, max_shift: int, flip: bool, dense: bool
) -> tuple[Array, Array]:
    """A batch augmented, its targets as the loss takes them."""
    shift_key, flip_key = jax.random.split(key)
    x, y = moved(shift_key, flip_key, x, y, max_shift=max_shift, flip=flip, dense=dense)
    return x, standardised(y, units)


def _plain(batch: Callable, step: int, number: int) -> list[np.ndarray]:
    """The images, as they are, of the last batches that were trained on."""
    return [batch(max(step - i, 0))[0] for i in range(number)]


def settle(
    plan: Plan, weights: Sequence[Weights], batches: Sequence[np.ndarray], run=PROGRAMS.run
) -> affine.Statistics:
    """Mean and variance for every batch norm: means over these batches of images."""
    found: list[dict] = []
    for images in batches:
        seen: dict[int, tuple[Any, Any]] = {}
        norm = affine.batch_norm(weights, seen=seen)
        walks.walk_forward(plan, weights, padding.pad_images(images), run, norm=norm)
        found.append({i: (np.asarray(mean), np.asarray(var)) for i, (mean, var) in seen.items()})
    return {i: tuple(np.mean([one[i] for one in found], 0)) for i in found[0]}


def evaluate(
    plan: Plan,
    task: Task,
    weights: Sequence[Weights],
    statistics: affine.Statistics,
    split: Split,
    batch_size: int,
    *,
    units: Units | None = None,
    run=PROGRAMS.run,
) -> tuple[float, float]:
    """The task's metric and the mean loss over all examples."""
    norm = affine.settled_norm(weights, statistics)

    def judge(x: np.ndarray, y: np.ndarray) -> tuple[Array, Array]:
        forward = walks.walk_forward(plan, weights, padding.pad_images(x), run, norm=norm)
        return _judged(task.loss, task.metric, _logits(plan, forward.values[-1]), y, units)

    value, loss, _ = task_metrics.evaluated(task.metric, split, batch_size, judge)
    return value, loss


_judged = jax.jit(task_metrics.judged, static_argnums=(0, 1))


def signatures(plan: Plan, batch_size: int) -> list[Signature]:
    """The programs that training and evaluating a plan will run."""
    seen: dict[Signature, None] = {}
    run = walks.recorder(seen)
    weights = fresh_weights(np.random.default_rng(0), plan)
    images = padding.pad_images(np.zeros((batch_size, *plan.input_shape), np.float32))
    norm = affine.batch_norm(weights)
    forward = walks.walk_forward(plan, weights, images, run, norm=norm)
    seed = np.zeros(forward.values[-1].shape, np.float32)
    walks.walk_backward(plan, weights, forward, seed, run, norm=norm)
    nothing = {i: affine.ones_zeros(forward.values[i].shape[-1]) for i in range(len(plan.steps))}
    walks.walk_forward(plan, weights, images, run, norm=affine.settled_norm(weights, nothing))
    return list(seen)
