"""The learned parts as bundles, and their files: weights (safetensors, float16) and a card (JSON):
data, seed, command, figures, sizes of the models, sha256 of the weights. No pickle.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nasgen.arrays import flatten, unflatten
from nasgen.models import flow, graph_vae, macro
from nasgen.models.accuracy import Accuracy, Predictor, Trees
from nasgen.models.flow import FlowConfig
from nasgen.models.graph_vae import VaeConfig
from nasgen.models.macro import MacroConfig
from nasgen.models.macro_language import WORDS, Vocabulary
from nasgen.models.mixture import Mixture
from nasgen.models.surrogate import Surrogate
from nasgen.pretrained import accuracy_of, damaged, find, read_card, sealed
from nasgen.spaces import SPACES
from nasgen.types import CellRules

Params = dict[str, Any]
_MODELS = ("vae", "flow", "macro")  # kept in float16


class Scaling(NamedTuple):
    """Standardisation of vectors `[rows, n]`: `(x - mean) / std`."""

    mean: Float[np.ndarray, " n"]
    std: Float[np.ndarray, " n"]

    def apply(self, x):
        """Standardised."""
        return (x - self.mean[None]) / self.std[None]

    def undo(self, x):
        """In the original units."""
        return x * self.std[None] + self.mean[None]


def scaling_of(x: Float[np.ndarray, "rows n"]) -> Scaling:
    """The standardisation of the entries of `x` that are not NaN."""
    return Scaling(np.nanmean(x, 0), np.nanstd(x, 0) + 1e-6)


class CellBundle(NamedTuple):
    """What writes the cells of a space.

    names: of the entries of a condition. skeleton: fields of `labels.Skeleton`, the network that
    conditions are measured in. conditions: their scaling. latents: scaling of the VAE's latents;
    the flow works on standardised ones. mixture: clusters of standardised conditions.
    tolerances: of each of them the error that says nothing, see `cells_fit.tolerances`.
    source: what draws the cells: "flow"; of ablations "prior", latents of the VAE's prior, whose
    decoder is told the condition all the same, and "sampler", the space's own, which looks at none.
    Kept in no file.
    """

    space: str
    names: tuple[str, ...]
    skeleton: dict[str, Any]
    vae: Params
    vae_config: VaeConfig
    flow: Params
    flow_config: FlowConfig
    conditions: Scaling
    latents: Scaling
    mixture: Mixture
    tolerances: Float[np.ndarray, " condition"]
    source: str = "flow"


class Bundle(NamedTuple):
    """Both levels: the clusters of the cells are the words of the macro language.

    fitness: the score that the surrogate (on `features`) and the quality stand for.
    words: which of `macro_language.WORDS` the transformer saw in training.
    accuracy: the predictors of trained accuracy, which any generators may be used with."""

    cells: CellBundle
    fitness: str
    words: tuple[bool, ...]
    macro: Params
    macro_config: MacroConfig
    surrogate: Surrogate
    accuracy: Accuracy | None = None


def save_cells(stem: Path, bundle: CellBundle, card: dict[str, Any]) -> None:
    """Writes `stem.safetensors` and `stem.json`; the card gains the models' sizes and the hash."""
    about = {"space": bundle.space, "names": bundle.names, "skeleton": bundle.skeleton}
    parts = {name: part for name, part in bundle._asdict().items() if name != "source"}
    _save(stem, parts, card, about)


def save_macro(stem: Path, bundle: Bundle, card: dict[str, Any]) -> None:
    """The same of the macro level alone. The card must say the `cells_sha256` that it builds on."""
    parts = {
        name: part for name, part in bundle._asdict().items() if name not in ("cells", "accuracy")
    }
    known = [n for n, seen in zip(WORDS, bundle.words, strict=True) if seen]
    about = {"space": bundle.cells.space, "fitness": bundle.fitness, "words": known}
    _save(stem, parts, card, about)


def _save(stem: Path, parts: Mapping[str, Any], card: dict[str, Any], about: dict) -> None:
    arrays = {}
    for part, tree in parts.items():
        if part in about or part.endswith("_config"):
            continue
        dtype = np.float16 if part in _MODELS else np.float32
        tree = {"values": tree} if isinstance(tree, np.ndarray) else tree
        for key, array in flatten(tree, part).items():
            arrays[key] = np.ascontiguousarray(array, dtype=dtype)
    weights = save(arrays)
    configs = {name: _plain(part) for name, part in parts.items() if name.endswith("_config")}
    card = {**card, "models": {**configs, **about}, "sha256": hashlib.sha256(weights).hexdigest()}
    stem.with_suffix(".safetensors").write_bytes(weights)
    text = json.dumps(sealed(json.loads(json.dumps(card))), indent=2)
    stem.with_suffix(".json").write_text(text + "\n")


def load_cells(name: str) -> CellBundle:
    """The generator of cells of this name among the shipped ones, or in the folder of this path.

    Raises ValueError, in one line, for a name that is not there and for damaged files."""

    def assemble(arrays: dict[str, np.ndarray], card: dict[str, Any]) -> CellBundle:
        about = card["models"]
        space = SPACES[about["space"]]
        vae_config = VaeConfig(**{**about["vae_config"], "rules": space.rules})
        flow_config, key = FlowConfig(**about["flow_config"]), jax.random.key(0)
        shapes = {
            "vae": jax.eval_shape(lambda: graph_vae.init(key, vae_config)),
            "flow": jax.eval_shape(lambda: flow.init(key, flow_config)),
        }
        return CellBundle(
            space=space.name,
            names=tuple(about["names"]),
            skeleton=about["skeleton"],
            vae_config=vae_config,
            flow_config=flow_config,
            **{part: unflatten(shape, arrays, part) for part, shape in shapes.items()},
            conditions=_record(Scaling, arrays, "conditions"),
            latents=_record(Scaling, arrays, "latents"),
            mixture=_record(Mixture, arrays, "mixture"),
            tolerances=arrays["tolerances/values"],
        )

    return _load(name, "cells", assemble)


def save_accuracy(stem: Path, accuracy: Accuracy, card: dict[str, Any]) -> None:
    """The same of predictors of trained accuracy; the card gains the names of their inputs."""
    names = {part: list(predictor.names) for part, predictor in accuracy._asdict().items()}
    arrays = {part: predictor._asdict() for part, predictor in accuracy._asdict().items()}
    for one in arrays.values():
        del one["names"]
    _save(stem, arrays, card, {"space": "open", "names": names})


def load_accuracy(name: str) -> Accuracy:
    """The predictors of this name, shipped or in the folder of a pretrain_accuracy run. Raises
    ValueError as `load_cells`."""

    def read(arrays: dict[str, np.ndarray], part: str, names: list[str]) -> Predictor:
        trees = _record(Trees, arrays, f"{part}/trees")
        places = {n: getattr(trees, n).astype(np.int64) for n in ("feature", "left", "right")}
        fields = [n for n in Predictor._fields if n not in ("names", "trees")]
        rest = {n: arrays[f"{part}/{n}"] for n in fields}
        if len(names) != len(rest["mean"]):
            raise ValueError("the card names other inputs than the weights have")
        return Predictor(names=tuple(names), trees=trees._replace(**places), **rest)

    def assemble(arrays: dict[str, np.ndarray], card: dict[str, Any]) -> Accuracy:
        names = card["models"]["names"]
        return Accuracy(*(read(arrays, part, names[part]) for part in Accuracy._fields))

    return _load(name, "accuracy", assemble)


def weights_hash(name: str) -> str:
    """The sha256 of the cells' weights of this name."""
    return hashlib.sha256(find(name, "cells")[0].read_bytes()).hexdigest()


def load_bundle(name: str) -> Bundle:
    """Both levels of this name, shipped or in the folder of a pretrain_macro run. Raises ValueError
    as `load_cells`."""
    cells, hash_of_cells = load_cells(name), weights_hash(name)
    accuracy = accuracy_of(name)

    def assemble(arrays: dict[str, np.ndarray], card: dict[str, Any]) -> Bundle:
        if card["cells_sha256"] != hash_of_cells:
            raise ValueError("they were trained on other cells than those beside them")
        about = card["models"]
        settings = dict(about["macro_config"])
        config = MacroConfig(Vocabulary(**settings.pop("vocabulary")), **settings)
        shape = jax.eval_shape(lambda: macro.init(jax.random.key(0), config))
        return Bundle(
            cells=cells,
            fitness=about["fitness"],
            words=tuple(name in about["words"] for name in WORDS),
            macro=unflatten(shape, arrays, "macro"),
            macro_config=config,
            surrogate=_record(Surrogate, arrays, "surrogate"),
            accuracy=None if accuracy is None else load_accuracy(accuracy),
        )

    return _load(name, "macro", assemble)


def _load(name: str, part: str, assemble) -> Any:
    weights_path, _ = find(name, part)
    card = read_card(name, part)
    try:
        weights = weights_path.read_bytes()
        if hashlib.sha256(weights).hexdigest() != card["sha256"]:
            raise ValueError("its bytes are not those that the card describes")
        return assemble(load(weights), card)
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise damaged(weights_path, " ".join(str(error).split())) from None


def _record(kind, arrays: dict[str, np.ndarray], part: str) -> Any:
    return kind(*(arrays[f"{part}/{field}"] for field in kind._fields))


def _plain(config: Any) -> dict[str, Any]:
    """Sizes as JSON; the rules are the space's own."""
    return {
        name: _plain(value) if hasattr(value, "_asdict") else value
        for name, value in config._asdict().items()
        if not isinstance(value, CellRules)
    }
