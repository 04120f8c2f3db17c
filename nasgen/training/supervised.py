"""Training of one image classifier by a recipe, with a teacher or without.

The network is a Linen module `module.apply({"params", "batch_stats"}, x, train=...) -> logits`
with `x: [batch, height, width, channels]` and `logits: [batch, classes]`. The weights with the
best validation accuracy are kept; the test split is never read here.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PyTree

from nasgen.data.batches import epoch_batches
from nasgen.data.task import Dataset, check_images
from nasgen.training import sharding
from nasgen.training.fit import Row, fit
from nasgen.training.recipe import Recipe, check_recipe, optimizer, preparation
from nasgen.training.state import LossFn, averaged, init_state

# apply_fn(variables, x) -> logits, in evaluation mode
ApplyFn = Callable[[PyTree, Array], Array]
# teacher(x) -> logits of the augmented, standardised images; JAX must be able to trace it.
Teacher = Callable[[Array], Array]


class Trained(NamedTuple):
    """The weights of the best validation accuracy, the step they stem from, and the run.

    history, seconds, compile_seconds: as in `fit.Fitted`.
    """

    variables: PyTree
    accuracy: float
    step: int
    history: list[Row]
    seconds: float
    compile_seconds: float


def train_classifier(
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
    being finite, ValueError for a task that is not of images and classes, for a batch larger than
    the training split and for what `check_recipe` refuses.
    """
    check_images(data.task)
    check_recipe(recipe, teacher=teacher is not None)
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
        x, y = data.validation
        weights = {"params": params, **model_state}
        return evaluate(apply_fn, weights, x, y, batch_size=recipe.batch_size, mesh=mesh)

    fitted = fit(
        classification_loss(module, recipe, teacher),
        state,
        batch_fn,
        tx,
        num_steps=recipe.steps,
        workdir=workdir,
        log_every=min(epoch, 50),
        checkpoint_every=recipe.checkpoint_every or max(1, recipe.steps // 10),
        eval_fn=evaluate_state,
        eval_every=recipe.eval_every or epoch,
        best_metric="accuracy",
        patience=recipe.patience,
        average_decay=recipe.ema,
        prepare_fn=preparation(recipe, data),
        micro_batches=recipe.micro_batches,
        mesh=mesh,
        on_metrics=on_metrics,
        label=label,
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


def classification_loss(
    module: nn.Module, recipe: Recipe, teacher: Teacher | None = None
) -> LossFn:
    """Cross-entropy with distributions over the classes, and with the teacher's by the recipe's
    part, as a loss for `fit` on batches of `recipe.preparation`."""

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
        logits = logits.astype(targets.dtype)
        loss = optax.softmax_cross_entropy(logits, targets).mean()
        if recipe.distillation:
            taught = jax.lax.stop_gradient(teacher(x)).astype(targets.dtype)
            divergence = distillation_loss(logits, taught, recipe.temperature)
            loss = (1 - recipe.distillation) * loss + recipe.distillation * divergence
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
    x: Float[np.ndarray, "examples height width channels"],
    y: Int[np.ndarray, " examples"],
    *,
    batch_size: int = 256,
    mesh: Mesh | None = None,
) -> dict[str, float]:
    """Accuracy and mean cross-entropy over all examples; the last batch is padded, not counted.

    Compiles once for each `apply_fn` (the same object) and batch size, whatever the examples.
    """
    correct, loss = 0, 0.0
    for start in range(0, len(y), batch_size):
        labels = y[start : start + batch_size]
        padding = batch_size - len(labels)
        images = np.pad(x[start : start + batch_size], ((0, padding), (0, 0), (0, 0), (0, 0)))
        labels = np.pad(labels, (0, padding), constant_values=-1)  # -1 is never counted
        batch = (images, labels) if mesh is None else sharding.shard_batch((images, labels), mesh)
        right, nll = _batch_sums(apply_fn, variables, *batch)
        correct, loss = correct + int(right), loss + float(nll)
    return {"accuracy": correct / len(y), "loss": loss / len(y)}


@partial(jax.jit, static_argnums=0)
def _batch_sums(
    apply_fn: ApplyFn, variables: PyTree, x: Array, y: Array
) -> tuple[Int[Array, ""], Float[Array, ""]]:
    logits = apply_fn(variables, x)
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(y, 0))
    return jnp.sum(logits.argmax(-1) == y), jnp.sum(jnp.where(y >= 0, nll, 0.0))
