"""Training of one network for a task of any kind by a recipe, with a teacher or without.

The network is a Linen module `module.apply({"params", "batch_stats"}, x, train=...) -> logits`
with `x: [batch, height, width, channels]` (series: `[batch, length, channels]`) and `logits`
`[batch, outputs]`, or `[batch, *places, outputs]` where each place has a target. The weights with
the best validation metric are kept; the test split is never read here.

What is trained to predict numbers predicts them standardised (see `units`).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, PyTree

from nasgen.data.batches import epoch_batches
from nasgen.data.task import Dataset, Split, check_objective
from nasgen.training import sharding, task_metrics
from nasgen.training.fit import Diverged, Row, fit
from nasgen.training.losses import LOSSES
from nasgen.training.recipe import Recipe, check_recipe, optimizer, preparation
from nasgen.training.state import LossFn, averaged, init_state
from nasgen.training.units import Units, units_of
from nasgen.types import METRICS, Task

# apply_fn(variables, x) -> logits, in evaluation mode
ApplyFn = Callable[[PyTree, Array], Array]
# teacher(x) -> logits of the augmented, standardised inputs; JAX must be able to trace it.
Teacher = Callable[[Array], Array]


class Trained(NamedTuple):
    """The weights of the best validation metric, its value, the step they stem from, and the run.

    history, seconds, compile_seconds: as in `fit.Fitted`.
    """

    variables: PyTree
    value: float
    step: int
    history: list[Row]
    seconds: float
    compile_seconds: float


def check_trainable(recipe: Recipe, task: Task, *, teacher: bool) -> None:
    """Raises ValueError for a recipe, a loss or a metric that the task cannot be trained with."""
    check_objective(task)
    check_recipe(recipe, task, teacher=teacher)


def train_network(
    module: nn.Module,
    variables: PyTree,
    data: Dataset,
    recipe: Recipe = Recipe(),  # noqa: B008 (immutable)
    *,
    seed: int,
    teacher: Teacher | None = None,
    workdir: Path | str | None = None,
    mesh: Mesh | None = None,
    on_metrics: Callable[[Row], None] | None = None,
    label: str | None = "training",
) -> Trained:
    """Trains `variables` on `data.train`, choosing among its epochs by `data.validation`.

    teacher: what `recipe.distillation` of the loss is learned from. Resumes from `workdir`, where
    the states of the best and of the last steps stay. Raises `fit.Diverged` where the loss stops
    being finite or the metric never is, ValueError for a batch larger than the training split and
    for what `check_trainable` refuses.
    """
    task, units = data.task, units_of(data)
    check_trainable(recipe, task, teacher=teacher is not None)
    batch_fn = epoch_batches(data.train.x, data.train.y, recipe.batch_size, seed=seed)
    epoch = len(data.train.y) // recipe.batch_size
    tx = optimizer(recipe)
    state = init_state(
        variables["params"],
        tx,
        jax.random.key(seed),
        model_state={name: value for name, value in variables.items() if name != "params"},
        average=recipe.ema > 0,
    )
    apply_fn = partial(module.apply, train=False)  # one object, so that it compiles once

    def evaluate_state(state) -> dict[str, float]:
        params, model_state = averaged(state)
        weights = {"params": params, **model_state}
        options = dict(batch_size=recipe.batch_size, mesh=mesh, units=units)
        found = evaluate(apply_fn, weights, data.validation, task, **options)
        return {task.metric: found.value, "loss": found.loss}

    fitted = fit(
        task_loss(module, recipe, task, teacher),
        state,
        batch_fn,
        tx,
        num_steps=recipe.steps,
        workdir=workdir,
        log_every=min(epoch, 50),
        checkpoint_every=recipe.checkpoint_every or max(1, recipe.steps // 10),
        eval_fn=evaluate_state,
        eval_every=recipe.eval_every or epoch,
        best_metric=task.metric,
        higher_is_better=METRICS[task.metric].higher,
        patience=recipe.patience,
        average_decay=recipe.ema,
        prepare_fn=preparation(recipe, data),
        micro_batches=recipe.micro_batches,
        mesh=mesh,
        on_metrics=on_metrics,
        label=label,
    )
    if fitted.best.state is None:
        raise Diverged(
            f"`metric` of {task.name} must be defined on the validation examples; {task.metric} "
            "never was, so that no weights could be chosen."
        )
    params, model_state = averaged(fitted.best.state)
    return Trained(
        {"params": params, **model_state},
        fitted.best.value,
        fitted.best.step,
        fitted.history,
        fitted.seconds,
        fitted.compile_seconds,
    )


def task_loss(
    module: nn.Module, recipe: Recipe, task: Task, teacher: Teacher | None = None
) -> LossFn:
    """The task's loss, mixed with the teacher's by the recipe's part, as `fit` takes it, on batches
    of `recipe.preparation`."""
    loss_of, classes = LOSSES[task.loss], task.kind == "classification"

    def loss_fn(params, model_state, batch, key):
        dropout_key = jax.random.split(key, 3)[2]  # the others are `preparation`'s
        x, targets = batch
        logits, model_state = module.apply(
            {"params": params, **model_state},
            x.astype(jnp.bfloat16) if recipe.bf16 else x,
            train=True,
            mutable=list(model_state),
            rngs={"dropout": dropout_key},
        )
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        loss = loss_of(logits, targets).mean()
        if recipe.distillation:
            taught = jax.lax.stop_gradient(teacher(x)).astype(logits.dtype)
            divergence = distillation_loss(logits, taught, recipe.temperature)
            loss = (1 - recipe.distillation) * loss + recipe.distillation * divergence
        if not classes:
            return loss, (model_state, {})
        right = logits.argmax(-1) == targets.argmax(-1)
        return loss, (model_state, {"accuracy": jnp.mean(right)})

    return loss_fn


def distillation_loss(
    logits: Float[Array, "batch classes"],
    taught: Float[Array, "batch classes"],
    temperature: float,
) -> Float[Array, ""]:
    """Kullback-Leibler divergence from the teacher's classes to the network's, both at the
    temperature, times its square. Hinton et al. (2015), equation 3 and section 2."""
    wanted, found = (jax.nn.log_softmax(one / temperature) for one in (taught, logits))
    return temperature**2 * jnp.mean(jnp.sum(jnp.exp(wanted) * (wanted - found), -1))


def evaluate(
    apply_fn: ApplyFn,
    variables: PyTree,
    split: Split,
    task: Task,
    *,
    units: Units | None = None,
    batch_size: int = 256,
    mesh: Mesh | None = None,
    on_logits: Callable[[Array], None] = lambda logits: None,
) -> task_metrics.Evaluation:
    """The task's metric, exact over all examples, and the mean loss; the last batch is filled up,
    which is not counted.

    units: what a network that predicts numbers standardised was trained with; the metric is in the
    targets' units. on_logits: told of each batch's, filled up. Compiles once for each `apply_fn`
    (the same object) and batch size, whatever the examples.
    """

    def judge(*batch: np.ndarray) -> tuple[Array, Array]:
        batch = batch if mesh is None else sharding.shard_batch(batch, mesh)
        found = _batch_rows(apply_fn, task.loss, task.metric, mesh, variables, *batch, units)
        on_logits(found[2])
        return found[:2]

    return task_metrics.evaluated(task.metric, split, batch_size, judge)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _batch_rows(
    apply_fn: ApplyFn,
    loss: str,
    metric: str,
    mesh: Mesh | None,
    variables: PyTree,
    x: Array,
    y: Array,
    units: Units | None,
) -> tuple[Array, Array, Array]:
    """Of each example of a batch its loss and its row of the metric, on every device of a mesh; and
    its logits, where they are."""
    logits = apply_fn(variables, x)
    found = task_metrics.judged(loss, metric, logits, y, units)
    if mesh is not None:
        found = jax.lax.with_sharding_constraint(found, sharding.replicated(mesh))
    return *found, logits
