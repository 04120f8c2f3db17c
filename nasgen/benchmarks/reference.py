"""PyTorch as a process beside this one, asked for one network at a time.

What it is told and what it answers: `reference_torch.py`, of scores; `training_torch.py`, of
training. It runs in an environment of its own, whose Python the config names, so PyTorch is no
dependency of nasgen.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nasgen.networks.padding import Weights
from nasgen.networks.plan import Plan
from nasgen.pipeline.config import UserError
from nasgen.spaces import formats
from nasgen.spaces.space import Space
from nasgen.types import Architecture

SCRIPT = Path(__file__).with_name("reference_torch.py")
INSTALL = "pip install torch==2.13.0 alethiometer==1.1.2"


class Reference(NamedTuple):
    """The process, and the file that its error output goes to."""

    process: subprocess.Popen
    errors: Path


def start(
    python: str,
    folder: Path,
    architectures: Sequence[Architecture],
    space: Space,
    images: Float[np.ndarray, "batch height width channels"],
    labels: Int[np.ndarray, " batch"],
    num_classes: int,
    *,
    weights: Sequence[tuple[Plan, Sequence[Weights]]] = (),
) -> Reference:
    """Starts the reference of scores over `architectures`; it talks through files in `folder`,
    which is made.

    weights: plan and weights of every architecture; without, PyTorch draws its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = [formats.architecture_to_json(one, space) for one in architectures]
    (folder / "architectures.json").write_text(json.dumps(listed))
    np.savez(folder / "batch.npz", images=images, labels=labels, num_classes=num_classes)
    arrays = {}
    for number, (plan, values) in enumerate(weights):
        kernels = [(s.layer.kind, w) for s, w in zip(plan.steps, values, strict=True) if w]
        for layer, (kind, w) in enumerate(kernels):
            arrays[f"{number}/{layer}/weight"] = to_torch(kind, w["kernel"])
            if "bias" in w:
                arrays[f"{number}/{layer}/bias"] = w["bias"]
    if arrays:
        np.savez(folder / "weights.npz", **arrays)
    return launch(python, SCRIPT, folder)[0]


def launch(python: str, script: Path, folder: Path) -> tuple[Reference, dict[str, Any]]:
    """Starts a script on a folder that is filled, and reads the first line that it says."""
    errors = folder / "errors.txt"
    process = subprocess.Popen(
        [python, str(script), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors.open("w"),
        text=True,
        env=_environment(),
    )
    reference = Reference(process, errors)
    return reference, _line(reference)


def ask(reference: Reference, request: int | str) -> dict[str, Any]:
    """The answer to a request: of scores, about the architecture of that number."""
    reference.process.stdin.write(f"{request}\n")
    reference.process.stdin.flush()
    return _line(reference)


def stop(reference: Reference) -> None:
    """Ends the process."""
    reference.process.kill()
    reference.process.communicate()


def _line(reference: Reference) -> dict[str, Any]:
    line = reference.process.stdout.readline()
    if not line:
        words = reference.errors.read_text().strip().splitlines()[-1:]
        raise RuntimeError(f"the PyTorch reference ended: {''.join(words) or 'no reason given'}")
    return json.loads(line)


def to_torch(kind: str, kernel: np.ndarray) -> np.ndarray:
    """HWIO to OIHW, a depthwise HWO to O1HW, a linear IO to OI."""
    if kind == "linear":
        return np.ascontiguousarray(kernel.T)
    if kind == "depthwise":
        return np.ascontiguousarray(kernel.transpose(2, 0, 1)[:, None])
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))


def check_python(python: str, script: Path = SCRIPT, install: str = INSTALL) -> None:
    """Raises UserError unless `python` runs and has installed what the script imports."""
    what = "`config.reference_python` must be the Python of an environment with the reference"
    try:
        done = subprocess.run(
            [python, str(script)], capture_output=True, text=True, env=_environment()
        )
    except OSError as error:
        raise UserError(f"{what} ({install}); {python}: {error.strerror}.") from None
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:]
        raise UserError(f"{what} ({install}); {python} says: {''.join(words)}")


def _environment() -> dict[str, str]:
    """Ours without PYTHONPATH and the like: the script imports what its own Python has."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
