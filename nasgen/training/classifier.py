"""Training of one image classifier: SGD with Nesterov momentum, warm-up and cosine decay.

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

from nasgen.data.augment import random_flip, random_shift
from nasgen.data.batches import epoch_batches
from nasgen.data.task import Dataset, check_images
from nasgen.training import sharding
from nasgen.training.fit import Row, fit
from nasgen.training.state import LossFn, averaged, init_state

# apply_fn(variables, x) -> logits, in evaluation mode
ApplyFn = Callable[[PyTree, Array], Array]


class Recipe(NamedTuple):
    """How a classifier is trained.

    steps: optimizer steps. learning_rate: the peak. weight_decay: L2, on kernels only (not on
    norms and biases). warmup_fraction: of the steps, linear. max_shift: pixels of random
    shift. flip: mirror images at random. ema: decay of a moving average of the weights to evaluate
    and deliver; 0 keeps none. clip_norm: of the gradient; 0 does not clip. eval_every and
    checkpoint_every: steps; 0 means once an epoch, and a tenth of the run.
    """

    steps: int = 1500
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_fraction: float = 0.05
    label_smoothing: float = 0.1
    max_shift: int = 1
    flip: bool = False
    ema: float = 0.0
    clip_norm: float = 0.0
    eval_every: int = 0
    checkpoint_every: int = 0


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
    workdir: Path | str | None = None,
    mesh: Mesh | None = None,
    on_metrics: Callable[[Row], None] | None = None,
    label: str | None = "training",
) -> Trained:
    """Trains `variables` on `data.train`, choosing among its epochs by `data.validation`.

    Resumes from `workdir`. Raises `fit.Diverged` where the loss stops being finite, ValueError for
    a task that is not of images and classes and for a batch larger than the training split.
    """
    check_images(data.task)
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
        classification_loss(module, recipe),
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
        average_decay=recipe.ema,
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


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """SGD, Nesterov: linear warm-up to the learning rate, then a cosine to 0 at the last step."""
    warmup = max(1, round(recipe.warmup_fraction * recipe.steps))
    schedule = optax.warmup_cosine_decay_schedule(
        recipe.learning_rate / warmup, recipe.learning_rate, warmup, max(recipe.steps, warmup + 1)
    )
    return optax.chain(
        optax.clip_by_global_norm(recipe.clip_norm) if recipe.clip_norm else optax.identity(),
        optax.add_decayed_weights(
            recipe.weight_decay, lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)
        ),
        optax.sgd(schedule, momentum=recipe.momentum, nesterov=True),
    )


def classification_loss(module: nn.Module, recipe: Recipe) -> LossFn:
    """Cross-entropy with smoothed labels on augmented images, as a loss for `fit`."""

    def loss_fn(params, model_state, batch, key):
        shift_key, flip_key, dropout_key = jax.random.split(key, 3)
        x, y = batch
        x = random_shift(shift_key, x, max_shift=recipe.max_shift)
        x = random_flip(flip_key, x) if recipe.flip else x
        logits, model_state = module.apply(
            {"params": params, **model_state},
            x,
            train=True,
            mutable=list(model_state),
            rngs={"dropout": dropout_key},
        )
        targets = optax.smooth_labels(jax.nn.one_hot(y, logits.shape[-1]), recipe.label_smoothing)
        loss = optax.softmax_cross_entropy(logits, targets).mean()
        return loss, (model_state, {"accuracy": jnp.mean(logits.argmax(-1) == y)})

    return loss_fn


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
