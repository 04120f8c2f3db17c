"""The learned parts as one bundle, and its files: `NAME.safetensors` (float16) and `NAME.json`, the
card: data, seed, command, figures, sizes of the models, sha256 of the weights. No pickle.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nasgen.arrays import flatten, unflatten
from nasgen.models import flow, graph_vae, macro
from nasgen.models.flow import FlowConfig
from nasgen.models.graph_vae import VaeConfig
from nasgen.models.macro import MacroConfig
from nasgen.models.macro_language import Vocabulary
from nasgen.models.mixture import Mixture
from nasgen.models.surrogate import Surrogate
from nasgen.pretrained import damaged, find

Params = dict[str, Any]
_MODELS = ("vae", "flow", "macro")


class Scaling(NamedTuple):
    """Standardisation of vectors: `(x - mean) / std`."""

    mean: Float[np.ndarray, " n"]
    std: Float[np.ndarray, " n"]

    def apply(self, x):
        """Standardised."""
        return (x - self.mean) / self.std

    def undo(self, x):
        """In the original units."""
        return x * self.std + self.mean


def scaling_of(x: Float[np.ndarray, "rows n"]) -> Scaling:
    """The standardisation of the entries of `x` that are not NaN."""
    return Scaling(np.nanmean(x, 0), np.nanstd(x, 0) + 1e-6)


class Bundle(NamedTuple):
    """Everything that pretraining leaves.

    space: of the cells. fitness: the score that the surrogate and the quality stand for.
    conditions: scaling of (log params, log MACs, log SNIP-SNR, NWOT) on the labelling skeleton.
    latents: scaling of the VAE's latents; the flow works on standardised ones.
    mixture: clusters of standardised conditions. surrogate: of the fitness, on `features`.
    """

    space: str
    fitness: str
    vae: Params
    vae_config: VaeConfig
    flow: Params
    flow_config: FlowConfig
    macro: Params
    macro_config: MacroConfig
    conditions: Scaling
    latents: Scaling
    mixture: Mixture
    surrogate: Surrogate


def save_bundle(folder: Path, name: str, bundle: Bundle, card: dict[str, Any]) -> None:
    """Writes weights and card. The card gains sizes of the models and the weights' hash."""
    arrays = {}
    for part, tree in bundle._asdict().items():
        if part.endswith("_config") or isinstance(tree, str):
            continue
        dtype = np.float16 if part in _MODELS else np.float32
        for key, array in flatten(tree, part).items():
            arrays[key] = np.ascontiguousarray(array, dtype=dtype)
    weights = save(arrays)
    configs = {k: _plain(v) for k, v in bundle._asdict().items() if k.endswith("_config")}
    configs |= {"space": bundle.space, "fitness": bundle.fitness}
    card = {**card, "models": configs, "sha256": hashlib.sha256(weights).hexdigest()}
    (folder / f"{name}.safetensors").write_bytes(weights)
    (folder / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n")


def load_bundle(name: str) -> Bundle:
    """The bundle of this name among the shipped ones, or in the folder of this path.

    Raises ValueError, in one line, for a name that is not there and for damaged files."""
    weights_path, card_path = find(name)
    try:
        card, weights = json.loads(card_path.read_text()), weights_path.read_bytes()
        if hashlib.sha256(weights).hexdigest() != card["sha256"]:
            raise ValueError("its bytes are not those that the card describes")
        return _assemble(load(weights), card["models"])
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise damaged(weights_path, error) from None


def _assemble(arrays: dict[str, np.ndarray], configs: dict[str, dict]) -> Bundle:
    vae_config = VaeConfig(**configs["vae_config"])
    flow_config = FlowConfig(**configs["flow_config"])
    macro_settings = dict(configs["macro_config"])
    vocabulary = Vocabulary(**macro_settings.pop("vocabulary"))
    macro_config = MacroConfig(vocabulary, **macro_settings)
    key = jax.random.key(0)
    shapes = {
        "vae": jax.eval_shape(lambda: graph_vae.init(key, vae_config)),
        "flow": jax.eval_shape(lambda: flow.init(key, flow_config)),
        "macro": jax.eval_shape(lambda: macro.init(key, macro_config)),
    }
    trees = {part: unflatten(shape, arrays, part) for part, shape in shapes.items()}
    records = {
        part: record(*(arrays[f"{part}/{field}"] for field in record._fields))
        for part, record in {
            "conditions": Scaling,
            "latents": Scaling,
            "mixture": Mixture,
            "surrogate": Surrogate,
        }.items()
    }
    about = {name: configs[name] for name in ("space", "fitness")}
    configs = dict(vae_config=vae_config, flow_config=flow_config, macro_config=macro_config)
    return Bundle(**about, **trees, **records, **configs)


def _plain(config: Any) -> dict[str, Any]:
    return {k: _plain(v) if hasattr(v, "_asdict") else v for k, v in config._asdict().items()}
