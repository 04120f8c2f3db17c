"""The recipe of a training: its settings, its optimizer, and what is done to a batch of examples.

The default is SGD with Nesterov momentum, warm-up and cosine decay on slightly shifted images.
What else the paper's recipe has, that of ZenNAS (Lin et al., ICCV 2021), is off until it is set, as
`experiments/configs/cifar10.py` and `imagenet.py` do.
"""

import difflib
from typing import NamedTuple

import jax
import optax
from jaxtyping import Array

from nasgen.data.augment import mixup, moved, random_erasing, random_resized_crop
from nasgen.data.auto_augment import POLICIES, auto_augment, pixel_scale
from nasgen.data.task import Dataset
from nasgen.keys import children
from nasgen.training.state import PrepareFn
from nasgen.training.units import standardised, units_of
from nasgen.types import KINDS, Task


class Recipe(NamedTuple):
    """How a network is trained.

    steps: optimizer steps. learning_rate: the peak. weight_decay: L2, on kernels only (not on
    norms and biases). warmup_fraction: of the steps, linear. label_smoothing: mass spread over all
    classes in a classification; other kinds have none. ema: decay of a moving average of the
    weights to evaluate and deliver; 0 keeps none. clip_norm: of the gradient; 0 does not clip.

    Inputs, in this order; `_LIMITS` says what is for which tasks. min_crop: the least part of an
    image's area that a random crop, resized to the whole, keeps; 0 does not crop. max_shift: pixels
    or moments of random shift. flip: mirror images at random. auto_augment: the name of a policy of
    AutoAugment, "cifar10" or "imagenet". erasing: the probability that a random rectangle is
    erased. mixup: alpha of the Beta distribution of the weight of two examples that are mixed; 0
    mixes none. Where each place has a target, shifts and flips move the targets too.

    distillation: the teacher's part of the loss, the rest is the labels'; 0 needs no teacher.
    temperature: that both are softened by. bf16: compute in bfloat16, in a module that computes in
    the type of its inputs as `Network` does; params, batch statistics, loss and evaluation stay
    float32. micro_batches: parts of a batch whose gradients are averaged, see `state.train_step`.
    patience: evaluations in a row without a better validation metric that end the run; 0: none.
    eval_every and checkpoint_every: steps; 0 means once an epoch, and a tenth of the run.
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
    min_crop: float = 0.0
    auto_augment: str | None = None
    erasing: float = 0.0
    mixup: float = 0.0
    distillation: float = 0.0
    temperature: float = 1.0
    bf16: bool = False
    micro_batches: int = 1
    patience: int = 0
    eval_every: int = 0
    checkpoint_every: int = 0


_WHOLE = ("classification", "multi_label", "regression")  # one target an example
_LABELS = ("classification", "multi_label")
# what not every task can be trained with: the kinds it is for, and whether for images alone
_LIMITS = {
    "min_crop": (_WHOLE, True),
    "flip": (tuple(KINDS), True),
    "auto_augment": (_LABELS, True),
    "erasing": (_WHOLE, True),
    "mixup": (_LABELS, False),
    "distillation": (("classification",), False),
}


def check_recipe(recipe: Recipe, task: Task, *, teacher: bool) -> None:
    """Raises ValueError for an unknown policy, a batch that cannot be parted, for distillation
    without a teacher, and for what has no meaning for the task."""
    policy = recipe.auto_augment
    if policy is not None and policy not in POLICIES:
        near = difflib.get_close_matches(policy, POLICIES, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"`auto_augment` must be one of {sorted(POLICIES)} or None; got {policy!r}. "
            f"Did you mean {near!r}?"
        )
    if recipe.batch_size % recipe.micro_batches:
        raise ValueError(
            f"`batch_size` must be a multiple of `micro_batches`; got {recipe.batch_size} and "
            f"{recipe.micro_batches}."
        )
    for option, (kinds, images) in _LIMITS.items():
        given, series = getattr(recipe, option), task.is_series
        if given and (task.kind not in kinds or (images and series)):
            of = f"{task.kind} of {'series' if series else 'images'}"
            raise ValueError(
                f"`{option}` must be off for {task.name}, {of}; it is for {', '.join(kinds)}"
                f"{' of images' if images else ''}; got {given!r}."
            )
    if recipe.distillation and not teacher:
        raise ValueError(
            f"`teacher` must be given where `distillation` is above 0; got "
            f"{recipe.distillation:g} and no teacher."
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


def preparation(recipe: Recipe, data: Dataset) -> PrepareFn:
    """The function `((x, y), key) -> (x, targets)` of a batch: inputs augmented, targets as the
    loss of the task takes them: classes of whole examples as one distribution over the classes
    each, numbers standardised. All of it follows from the key, that is from the step."""
    task, units = data.task, units_of(data)
    pixels = recipe.auto_augment and pixel_scale(data.train.x, data.mean, data.std)

    def prepare(batch, key: Array):
        shift_key, flip_key, rest = jax.random.split(key, 3)
        keys = children(rest, "crop", "policy", "erasing", "mixup")

        x, y = batch
        x = random_resized_crop(keys["crop"], x, least=recipe.min_crop) if recipe.min_crop else x
        how = dict(max_shift=recipe.max_shift, flip=recipe.flip, dense=task.is_dense)
        x, y = moved(shift_key, flip_key, x, y, **how)
        if recipe.auto_augment:
            x = auto_augment(keys["policy"], x, policy=recipe.auto_augment, pixels=pixels)
        if recipe.erasing:
            x = random_erasing(keys["erasing"], x, probability=recipe.erasing)
        targets = standardised(y, units)
        if task.kind == "classification":
            one_hot = jax.nn.one_hot(y, task.num_classes)
            targets = optax.smooth_labels(one_hot, recipe.label_smoothing)
        if recipe.mixup:
            x, targets = mixup(keys["mixup"], x, targets, alpha=recipe.mixup)
        return x, targets

    return prepare
