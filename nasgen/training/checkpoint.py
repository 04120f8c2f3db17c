"""Checkpoints: a tree of arrays by step, hashed whole, so that damage is seen and never restored.

A checkpoint is a folder `<name>-<step>` holding `arrays/` (Orbax) and `manifest.json` with the
sha256 of every file, the shape and type of every leaf, and the caller's `meta`; the manifest
carries its own sha256. It is written under another name and renamed when whole, so an interrupted
save leaves nothing that looks like a checkpoint. Leaves are stored by position, under their path
in the manifest: records, empty trees and typed keys pass through unchanged.

This is the only module that touches Orbax.
"""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from nasgen import processes

ARRAYS, MANIFEST, UNFINISHED = "arrays", "manifest.json", ".unfinished-"
log = logging.getLogger(__name__)


class Unusable(ValueError):
    """There are checkpoints, and none of them can be gone on from."""


class Checkpoint(NamedTuple):
    """What was restored: arrays as NumPy arrays, typed keys as typed keys, `meta` as given."""

    step: int
    tree: PyTree
    meta: dict[str, Any]


def save(
    folder: str | os.PathLike,
    tree: PyTree,
    *,
    step: int,
    name: str = "step",
    keep: int = 2,
    meta: dict[str, Any] | None = None,
) -> Path:
    """Writes `tree` as `folder/<name>-<step>` and drops all but the last `keep` of that name.

    With several processes all must call this; arrays must be replicated, the first one writes.
    """
    folder = Path(folder).absolute()
    target = folder / f"{name}-{step:08d}"
    unfinished = folder / f"{UNFINISHED}{target.name}"
    described, arrays = _flatten(tree)
    first = processes.is_first()
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(leftover)
        unfinished.mkdir()
    processes.wait_for_all(f"begin {target}")
    try:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            checkpointer.save(unfinished / ARRAYS, arrays)
        if first:
            body = {"step": step, "leaves": described, "meta": meta or {}}
            body |= {"files": _hashes(unfinished)}
            text = json.dumps(body | {"sha256": _digest(body)}, indent=1)
            (unfinished / MANIFEST).write_text(text)
            if target.exists():  # a damaged one of the same step
                shutil.rmtree(target)
            os.replace(unfinished, target)
    except BaseException:
        if first:
            shutil.rmtree(unfinished, ignore_errors=True)  # a full disk needs the room
        raise
    if first:
        for old in steps(folder, name=name)[: -max(keep, 1)]:
            shutil.rmtree(folder / f"{name}-{old:08d}")
    processes.wait_for_all(f"end {target}")
    return target


def steps(folder: str | os.PathLike, *, name: str = "step") -> list[int]:
    """The steps of the checkpoints of that name, whole or not, in ascending order."""
    tails = (path.name[len(name) + 1 :] for path in Path(folder).glob(f"{name}-*"))
    return sorted(int(tail) for tail in tails if tail.isdigit())


def damage(path: str | os.PathLike) -> str | None:
    """What is wrong with the checkpoint in the folder `path`; None where it is whole."""
    path = Path(path)
    try:
        body = json.loads((path / MANIFEST).read_bytes())
        digest = body.pop("sha256")
    except OSError:
        return f"{MANIFEST} is missing"
    except (ValueError, KeyError, AttributeError, TypeError):
        return f"{MANIFEST} is unreadable"
    if _digest(body) != digest or f"-{body['step']:08d}" != path.name[-9:]:
        return f"{MANIFEST} was altered"
    found, expected = _hashes(path), body["files"]
    for file in sorted(found.keys() | expected.keys()):
        if file not in found:
            return f"{file} is missing"
        if file not in expected:
            return f"{file} does not belong to it"
        if found[file] != expected[file]:
            return f"{file} was altered (its sha256 differs)"
    return None


def restore(
    folder: str | os.PathLike, template: PyTree, *, name: str = "step"
) -> Checkpoint | None:
    """The newest whole checkpoint of that name, in the structure of `template`.

    Returns None where there is none. A damaged one is named in a warning and the one before it
    is tried; Unusable where every one is damaged, or where the newest whole one does not have the
    leaves of `template`.
    """
    folder = Path(folder).absolute()
    whole = processes.from_first(lambda: _newest_whole(folder, name), error=Unusable)
    return None if whole is None else _read(folder / whole, template)


def _newest_whole(folder: Path, name: str) -> str | None:
    """The name of the checkpoint to use."""
    faults = []
    for step in reversed(steps(folder, name=name)):
        path = folder / f"{name}-{step:08d}"
        fault = damage(path)
        if fault is None:
            return path.name
        faults.append(f"{path.name}: {fault}")
        log.warning("Checkpoint of step %d is damaged and is not used: %s", step, faults[-1])
    if faults:
        raise Unusable(
            f"`{folder}` must hold a whole checkpoint, or none at all; got {'; '.join(faults)}. "
            "Remove them to start anew."
        )
    return None


def _read(path: Path, template: PyTree) -> Checkpoint:
    body = json.loads((path / MANIFEST).read_bytes())
    described, arrays = _flatten(template)
    if body["leaves"] != described:
        stored = {leaf["path"]: leaf for leaf in body["leaves"]}
        wanted = {leaf["path"]: leaf for leaf in described}
        differing = [p for p in {**wanted, **stored} if stored.get(p) != wanted.get(p)]
        first = differing[0] if differing else "the order of the leaves"
        raise Unusable(
            f"`template` must have the leaves of {path}; {len(differing)} differ, first {first}: "
            f"stored {stored.get(first)}, wanted {wanted.get(first)}. Another version of nasgen or "
            "of a library wrote it: use that one, or a new folder."
        )
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        restored = checkpointer.restore(path / ARRAYS, args=ocp.args.StandardRestore(arrays))
    leaves, treedef = jax.tree.flatten(template)
    read = [
        _as_leaf(restored.get(f"{i:05d}"), leaf, about)
        for i, (leaf, about) in enumerate(zip(leaves, described, strict=True))
    ]
    return Checkpoint(body["step"], treedef.unflatten(read), body["meta"])


def _flatten(tree: PyTree) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """A description of each leaf, and the arrays by position (Orbax takes none of size zero)."""
    described, arrays = [], {}
    for i, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(tree)):
        array = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        kind = str(leaf.dtype) if _is_key(leaf) else str(array.dtype)
        described.append(
            {"path": jax.tree_util.keystr(path), "shape": list(array.shape), "dtype": kind}
        )
        if array.size:
            arrays[f"{i:05d}"] = array
    return described, arrays


def _as_leaf(array: np.ndarray | None, like: Any, about: dict[str, Any]) -> Any:
    if array is None:
        return np.zeros(about["shape"], about["dtype"])
    if _is_key(like):
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(like))
    return array


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _hashes(path: Path) -> dict[str, str]:
    """The sha256 of every file under `path` but the manifest."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file != path / MANIFEST
    }


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
