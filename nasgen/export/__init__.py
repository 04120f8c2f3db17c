"""A trained network as files that need no nasgen.

model.py              the network as readable source for jax and flax, with a command line
predict.py            what it says of pictures, tables of series and arrays, a command
weights.safetensors   its weights
model.stablehlo       raw images or series to logits for any batch size, weights inside
model.jax_export      the same for `jax.export.deserialize`, where flatbuffers is installed
model.onnx            the same as ONNX, where the extra `onnx` is installed
preprocess.json       what files and raw inputs become before they enter, see `preprocessing`
architecture.json     the architecture and its task, which nasgen reads back
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

from nasgen.export.onnx_model import OnnxError, onnx_graph
from nasgen.export.preprocessing import form
from nasgen.export.source import model_source
from nasgen.export.stablehlo import export_program, from_stablehlo
from nasgen.export.weights import flat_weights, read_weights, write_weights
from nasgen.networks import costs
from nasgen.networks.plan import Plan, weight_shapes
from nasgen.networks.plans.open import make_plan
from nasgen.report.card import model_card
from nasgen.spaces.formats import architecture_from_json, architecture_to_json
from nasgen.spaces.open import SPACE
from nasgen.spaces.space import Space
from nasgen.types import Architecture, Cell, Task

__all__ = ["FILES", "add_onnx", "export_network", "export_program", "flat_weights"]
__all__ += ["from_stablehlo", "model_source", "read_weights", "write_weights"]
_PREDICT = Path(__file__).with_name("predict.py")

JAX_EXPORT = "model.jax_export"  # needs the `export` extra
ONNX = "model.onnx"  # needs the `onnx` extra
OPTIONAL = (JAX_EXPORT, ONNX)
FILES = (
    "README.md",
    "architecture.json",
    "model.py",
    "model.stablehlo",
    "predict.py",
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
    preprocess: `{"mean": [...], "std": [...]}`, a number a channel; raw inputs enter as
    `(raw - mean) / std`. And `white` and `table`, as in `data.Dataset`, if pictures or tables are
    to be read.
    card: what the model card tells, see `report.card.model_card`.
    An export that is there already is replaced. Raises ValueError where `folder` holds anything
    else, where the variables are not those of the plan, or where `architecture` is a cell of a
    tabular space: those cannot be exported.
    """
    folder = Path(folder).absolute()
    _check_folder(folder)
    _check_variables(plan, variables)
    entering = form(task, **preprocess)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(unfinished, plan, variables, architecture, space, task, entering, card)
        unfinished.chmod(0o755)
        _replace(folder, unfinished)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return [folder / name for name in (*FILES, *OPTIONAL) if (folder / name).exists()]


def _write(folder: Path, plan, variables, architecture, space, task, entering, card) -> None:
    mean, std = (np.float32(entering[name]) for name in ("mean", "std"))
    source = model_source(
        plan, architecture=architecture, ops=space.ops, task=task, mean=mean, std=std
    )
    built = {**architecture_to_json(architecture, space), "task": task._asdict()}
    write_weights(folder / "weights.safetensors", variables)
    program = export_program(plan, variables, mean=mean, std=std)
    (folder / "model.stablehlo").write_bytes(program.mlir_module_serialized)
    if find_spec("flatbuffers") is not None:
        (folder / JAX_EXPORT).write_bytes(program.serialize())
    absent = _write_onnx(folder, plan, variables, mean, std)
    texts = {
        "model.py": source,
        "predict.py": _PREDICT.read_text(encoding="utf-8"),
        "preprocess.json": json.dumps(entering, indent=2) + "\n",
        "architecture.json": json.dumps(built, indent=1) + "\n",
        "README.md": model_card(
            {"no_onnx": absent, **card} if absent else card,
            architecture=architecture,
            space=space,
            task=task,
            costs=costs.count(plan),
        ),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _write_onnx(folder: Path, plan, variables, mean, std) -> str:
    """Writes the graph, or says why there is none."""
    try:
        (folder / ONNX).write_bytes(onnx_graph(plan, variables, mean=mean, std=std))
    except OnnxError as error:
        return str(error)
    return ""


def add_onnx(folder: str | os.PathLike) -> Path:
    """Adds the ONNX graph to an export that lacks it, say since the extra was not installed.

    Raises ValueError where the folder is no export, OnnxError where there can be no graph."""
    folder = Path(folder)
    try:
        built = json.loads((folder / "architecture.json").read_text(encoding="utf-8"))
        entering = json.loads((folder / "preprocess.json").read_text(encoding="utf-8"))
        task = Task(**built["task"])
        task = task._replace(input_shape=tuple(task.input_shape))
        mean, std = (np.float32(entering[name]) for name in ("mean", "std"))
        architecture = architecture_from_json(built, SPACE)
        variables = read_weights(folder / "weights.safetensors")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"`folder` must be an export; {folder} is none ({error}).") from error
    plan = make_plan(architecture, SPACE.ops, task)
    (folder / ONNX).write_bytes(onnx_graph(plan, variables, mean=mean, std=std))
    return folder / ONNX


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
    known = {*FILES, *OPTIONAL, "__pycache__"}
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
