"""A teacher to distil from: the network that another run handed over, from its folder."""

import json
from pathlib import Path

import jax
import numpy as np

from nasgen.arrays import unflatten
from nasgen.data.task import Dataset
from nasgen.export import flat_weights, read_weights
from nasgen.networks.network import Network, init_network
from nasgen.networks.ops import per_channel
from nasgen.networks.plans.open import make_plan
from nasgen.spaces import Space
from nasgen.spaces.formats import architecture_from_json
from nasgen.training.supervised import Teacher

_NEEDED = ("architecture.json", "preprocess.json", "weights.safetensors")


def load_teacher(folder: Path, dataset: Dataset, space: Space) -> Teacher:
    """The network in `folder` as a function from images standardised as the data set's to logits.

    Raises ValueError, in one line, where it is no network of this space for the task's images and
    classes.
    """
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"`teacher` must be a network's folder; {folder} has no {missing[0]}.")
    try:
        plan = make_plan(
            architecture_from_json(_json(folder / "architecture.json"), space),
            space.ops,
            dataset.task,
        )
        weights = flat_weights(read_weights(folder / "weights.safetensors"))
        variables = jax.device_put(unflatten(init_network(jax.random.key(0), plan), weights))
        preprocess = _json(folder / "preprocess.json")
        shape = tuple(preprocess["input_shape"])
        if shape != dataset.task.input_shape:
            raise ValueError(f"it takes inputs of {shape}, not of {dataset.task.input_shape}")
        mean, std = (np.asarray(preprocess[name], np.float32) for name in ("mean", "std"))
    except (ValueError, KeyError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"`teacher` must be a network for {dataset.task.name}; {folder} will not do: {reason}"
        ) from None
    # Raw images are `x * dataset.std + dataset.mean`.
    scale, offset = dataset.std / std, (dataset.mean - mean) / std

    def teacher(x):
        own = x * per_channel(scale, x) + per_channel(offset, x)
        return Network(plan).apply(variables, own, train=False)

    return teacher


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))
