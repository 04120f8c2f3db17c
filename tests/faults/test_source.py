"""What the source may not do, and what may be absent: read from the source itself."""

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for folder in ("nasgen", "experiments", "launch") for path in (ROOT / folder).rglob("*.py")
)
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in SOURCES}
# A config is a Python file that the user names; pickles of others' data are read by an unpickler
# that calls nothing (`tests/data/test_pickles.py`).
ALLOWED = {
    "nasgen/pipeline/config.py": ["exec"],
    "nasgen/data/pickles.py": ["pickle"],
}
CALLS = ("eval", "exec", "__import__")
MODULES = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml")


def dangers(tree):
    """Calls that execute text, modules that execute what they read, and `allow_pickle`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in CALLS:
                yield node.func.id
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                plain = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg == "allow_pickle" and not plain:
                    yield "allow_pickle"
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] in MODULES)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield node.module


def test_nothing_that_is_read_is_executed():
    found = {name: sorted(dangers(tree)) for name, tree in TREES.items()}
    assert {name: one for name, one in found.items() if one} == ALLOWED


@pytest.mark.parametrize(
    "text",
    ["eval('1')", "import yaml", "from joblib import load", "np.load(f, allow_pickle=True)"],
)
def test_the_search_finds_what_it_is_for(text):
    assert list(dangers(ast.parse(text)))


def test_no_result_hangs_on_the_clock_of_the_wall():
    """Durations are of clocks that cannot jump; the date stands in the record of the machine, and
    in the events that TensorBoard reads."""
    wall = re.compile(r"time\.time\(|datetime|\btime\.localtime")
    assert [path.name for path in SOURCES if wall.search(path.read_text())] == ["event_log.py"]


def test_every_dependency_has_bounds():
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / "setup.cfg")
    listed = parsed["options"]["install_requires"].split("\n")
    for extra in parsed["options.extras_require"].values():
        listed += extra.split("\n")
    for one in filter(None, listed):
        assert re.fullmatch(r"[\w.-]+>=[\w.]+,<[\w.]+", one), one


def test_the_core_works_without_what_is_optional():
    """In a process that lacks them: imports, the command line, and a cell that is written."""
    code = """
import sys

absent = "tensorflow wandb graphviz matplotlib tensorboardX onnxruntime jax2onnx"
sys.modules |= dict.fromkeys(absent.split())
import jax, numpy as np
import nasgen
from experiments import run
from nasgen.pipeline import design
from nasgen.pipeline.cell_generator import write_cells
from nasgen.pretrained.bundle import load_cells
from nasgen.report import pictures

assert not pictures.can_draw()
bundle = load_cells("nb201")
assert len(write_cells(bundle, jax.random.key(0), np.zeros((8, 4), np.float32)).nodes) == 8
assert run.main(["run.py", "--help"]) == 0
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
