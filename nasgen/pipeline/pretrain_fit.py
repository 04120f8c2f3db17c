"""What the graph VAE, the flow and the transformer share: their training, and reading them back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from nasgen.arrays import unflatten
from nasgen.training.fit import Fitted, fit
from nasgen.training.sharding import default_mesh
from nasgen.training.state import init_state


def fit_model(loss_fn, params, batch_fn, key, settings: ConfigDict, folder: Path) -> Fitted:
    """AdamW with warm-up, cosine and clipping, averaged weights (host arrays); resumes."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, settings.steps // 50, settings.steps
    )
    tx = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=settings.weight_decay)
    )
    fitted = fit(
        loss_fn,
        init_state(params, tx, key, average=True),
        batch_fn,
        tx,
        num_steps=settings.steps,
        workdir=folder,
        log_every=100,
        checkpoint_every=max(settings.steps // 4, 1),
        average_decay=0.998,
        mesh=default_mesh(),
        label=f"training {folder.name}",
    )
    state = fitted.state._replace(average=jax.device_get(fitted.state.average))
    return fitted._replace(state=state)


def load_params(file: Path, init: Callable[..., Any], sizes: Any) -> Any:
    """The params in an .npz file, shaped as `init(key, sizes)` would make them."""
    template = jax.eval_shape(lambda: init(jax.random.key(0), sizes))
    with np.load(file) as arrays:
        return unflatten(template, arrays)
