"""A small network with every kind of layer, exported: what the tests of `nasgen.export` share."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from nasgen import export
from nasgen.networks.network import Network, init_network
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.spaces.open import OPS, SPACE
from nasgen.types import Architecture, Budget, Cell, MacroArchitecture, Op, Stage, Task

TASK = Task("tiny", (6, 7, 2), 3)
MEAN, STD = [4.0, 8.1], [3.0, 5.3]


def _op(kind: str, kernel: int) -> int:
    return OPS.index(Op(kind, kernel))


# All nine kinds: with the raw input of a cell that changes (stride 2, other width) as only parent,
# with several parents, and with a projection that nobody reads (the last stage).
WIDE = Cell(
    (_op("mbconv_2", 3), _op("avg_pool", 3), _op("dil_conv", 3), _op("bconv_05", 1)),
    ((0, 1), (0, 2), (0, 3), (0, 4), (1, 4), (1, 5), (2, 5), (3, 5), (4, 5)),
)
DEEP = Cell(
    (_op("conv", 3), _op("sep_conv", 5), _op("mbconv_3", 1), _op("bconv_025", 3)),
    ((0, 1), (0, 2), (0, 4), (1, 2), (2, 3), (3, 4), (4, 5)),
)
CHAIN = Cell((_op("mbconv_6", 1), _op("avg_pool", 1)), ((0, 1), (1, 2), (2, 3)))
ARCHITECTURE = Architecture(
    MacroArchitecture((Stage(0, 8, 1, 1), Stage(1, 16, 2, 2), Stage(2, 24, 2, 1)), 16),
    (DEEP, WIDE, CHAIN),
)


# Begins a script where nasgen cannot be imported at all. An editable install is found by a finder
# of its own: not here.
WITHOUT_NASGEN = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f)]
try:
    import nasgen
except ImportError:
    pass
else:
    sys.exit("nasgen can be imported here, so this proves nothing")
"""


def run_alone(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """Python in another folder, in isolated mode: no PYTHONPATH, nothing of this checkout."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["JAX_COMPILATION_CACHE_DIR"] = jax.config.jax_compilation_cache_dir
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"
    return subprocess.run(
        [sys.executable, "-I", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


class Exported(NamedTuple):
    folder: Path
    plan: Plan
    variables: dict
    images: np.ndarray
    logits: np.ndarray


def variables_of(plan: Plan) -> dict:
    """Weights as after training: no norm is the identity, logits are of the order of one."""
    variables = jax.tree.map(np.asarray, init_network(jax.random.key(0), plan))
    rng = np.random.default_rng(0)
    for name, weights in variables["params"].items():
        for part in sorted({"scale", "shift", "bias"} & weights.keys()):
            shape = weights[part].shape
            weights[part] = rng.normal(part == "scale", 0.3, shape).astype(np.float32)
        if name in variables["batch_stats"]:
            shape = variables["batch_stats"][name]["mean"].shape
            variables["batch_stats"][name] = {
                "mean": rng.normal(0, 0.2, shape).astype(np.float32),
                "variance": rng.uniform(0.05, 0.5, shape).astype(np.float32),
            }
    return variables


def export_small(folder: Path, plan: Plan, variables: dict, **changes) -> list[Path]:
    """`export_network` of the small network, with some arguments changed."""
    options = {
        "architecture": ARCHITECTURE,
        "space": SPACE,
        "task": TASK,
        "preprocess": {"mean": MEAN, "std": STD},
        "card": {"budget": Budget(params=50_000), "seed": 0},
    }
    return export.export_network(folder, plan, variables, **{**options, **changes})


def make_exported(folder: Path) -> Exported:
    """The network in `folder`, images, and its logits by nasgen. Needs lenient ranks."""
    plan = make_plan(ARCHITECTURE, OPS, TASK)
    variables = variables_of(plan)
    paths = export_small(folder, plan, variables)
    assert sorted(paths) == sorted(folder.iterdir())
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 16, (7, *TASK.input_shape)) * rng.uniform(0, 2, (7, 1, 1, 2))
    images = images.astype(np.float32)
    x = (images - np.float32(MEAN)) / np.float32(STD)
    logits = np.asarray(jax.jit(Network(plan).apply)(variables, x))
    assert 0.1 < logits.std() < 100 and len(set(logits.argmax(-1))) > 1  # not a test of zeros
    return Exported(folder, plan, variables, images, logits)
