"""The wheel: small, with weights and the page's parts in it, and enough to write networks with."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
USE = """
import jax, nasgen
print(nasgen.__file__)
cell, = nasgen.cells.generate(jax.random.key(0), 1)
networks = nasgen.generate(
    nasgen.load_pretrained(), jax.random.key(0), "digits", nasgen.Budget(params=20_000), num=1
)
print(len(networks))
"""


@pytest.mark.slow
def test_what_is_installed_of_a_wheel_works(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", ROOT, source], check=True)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 25e6
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"nasgen/pretrained/macro_open.safetensors", "nasgen/published/hgen.json"} <= names
    assert {"nasgen/report/page/page.css", "nasgen/report/page/vendor/echarts.min.js"} <= names
    assert not [name for name in names if name.startswith(("tests", "experiments", "launch"))]
    installed = tmp_path / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--target", installed, wheel], check=True)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(installed)!r}){USE}"]
    told = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    place, number = told.stdout.splitlines()
    assert place.startswith(str(installed)) and number == "1"
