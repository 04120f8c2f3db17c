"""A trained network as files that need no nasgen.

model.py              the network as readable source for jax and flax, with a command line
weights.safetensors   its weights
model.stablehlo       raw images to logits for any batch size, weights inside
model.jax_export      the same for `jax.export.deserialize`, where flatbuffers is installed
preprocess.json       how raw images enter
architecture.json     the architecture, which nasgen reads back
README.md             the model card
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree

from nasgen.export.source import model_source
from nasgen.export.stablehlo import export_program, from_stablehlo
from nasgen.export.weights import flat_weights, read_weights, write_weights
from nasgen.networks import costs
from nasgen.networks.plan import Plan, weight_shapes
from nasgen.report.card import model_card
from nasgen.spaces.formats import architecture_to_json
from nasgen.spaces.space import Space
from nasgen.types import Architecture, Cell, Task

__all__ = ["FILES", "export_network", "flat_weights", "from_stablehlo", "model_source"]
__all__ += ["export_program", "read_weights", "write_weights"]

JAX_EXPORT = "model.jax_export"  # needs the `export` extra
FILES = (
    "README.md",
    "architecture.json",
    "model.py",
    "model.stablehlo",
    "preprocess.json",
    "weights.safetensors",
)


def export_network(
    folder: str | os.PathLike,
    plan: Plan,
    variables: PyTree,
    *,
    architecture: Architecture | Cell,
    space: Space,
    task: Task,
    preprocess: Mapping[str, Any],
    card: Mapping[str, Any],
) -> list[Path]:
    """Writes the network to `folder`, all files or none, and returns their paths.

    plan: of `architecture` for `task`. variables: `params` and `batch_stats` of the Linen network.
    preprocess: `{"mean": [...], "std": [...]}`, a number a channel; raw images enter as
    `(raw - mean) / std`. card: what the model card tells, see `report.card.model_card`.
    An export that is there already is replaced. Raises ValueError where `folder` holds anything
    else, where the variables are not those of the plan, or where `architecture` is a cell of a
    tabular space: those cannot be exported.
    """
    folder = Path(folder).absolute()
    _check_folder(folder)
    _check_variables(plan, variables)
    mean, std = _standardisation(preprocess, plan)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(unfinished, plan, variables, architecture, space, task, mean, std, card)
        unfinished.chmod(0o755)
        _replace(folder, unfinished)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return [folder / name for name in (*FILES, JAX_EXPORT) if (folder / name).exists()]


def _write(folder: Path, plan, variables, architecture, space, task, mean, std, card) -> None:
    source = model_source(
        plan, architecture=architecture, ops=space.ops, task=task, mean=mean, std=std
    )
    preprocess = {
        "input_shape": list(plan.input_shape),
        "layout": "batch, height, width, channels",
        "formula": "(raw - mean) / std",
        "mean": mean.tolist(),
        "std": std.tolist(),
    }
    write_weights(folder / "weights.safetensors", variables)
    program = export_program(plan, variables, mean=mean, std=std)
    (folder / "model.stablehlo").write_bytes(program.mlir_module_serialized)
    if find_spec("flatbuffers") is not None:
        (folder / JAX_EXPORT).write_bytes(program.serialize())
    texts = {
        "model.py": source,
        "preprocess.json": json.dumps(preprocess, indent=2) + "\n",
        "architecture.json": json.dumps(architecture_to_json(architecture, space), indent=1) + "\n",
        "README.md": model_card(
            card, architecture=architecture, space=space, task=task, costs=costs.count(plan)
        ),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _replace(folder: Path, new: Path) -> None:
    """Puts `new` in the place of `folder`; an old export goes only once the new one is whole."""
    if not folder.exists():
        os.replace(new, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    os.replace(folder, old)
    try:
        os.replace(new, folder)
    except OSError:
        os.replace(old, folder)
        raise
    shutil.rmtree(old)


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        return
    known = {*FILES, JAX_EXPORT, "__pycache__"}
    others = (
        [p.name for p in folder.iterdir() if p.name not in known] if folder.is_dir() else ["it"]
    )
    if others:
        raise ValueError(
            f"`folder` must be new, empty or an earlier export; {folder} holds {others[0]!r}."
        )


def _check_variables(plan: Plan, variables: PyTree) -> None:
    wanted = {}
    for step in plan.steps:
        wanted |= {f"params/{step.name}/{n}": s for n, s in weight_shapes(step.layer).items()}
        if step.layer.norm != "none":
            shape = (step.layer.out_channels,)
            wanted |= {f"batch_stats/{step.name}/{n}": shape for n in ("mean", "variance")}
    found = {name: array.shape for name, array in flat_weights(variables).items()}
    if found != wanted:
        odd = min(dict(found.items() ^ wanted.items()))
        raise ValueError(
            f"`variables` must be those of `plan`: {odd} must be {wanted.get(odd, 'absent')}; "
            f"got {found.get(odd, 'nothing')}."
        )


def _standardisation(preprocess: Mapping[str, Any], plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    channels = plan.input_shape[2]
    values = [np.asarray(preprocess[name], np.float32) for name in ("mean", "std")]
    for name, array in zip(("mean", "std"), values, strict=True):
        if array.shape != (channels,) or not np.isfinite(array).all():
            raise ValueError(
                f"`preprocess[{name!r}]` must be {channels} numbers, one a channel; got {array}."
            )
    if not (values[1] > 0).all():
        raise ValueError(f"`preprocess['std']` must be above 0; got {values[1]}.")
    return values[0], values[1]
