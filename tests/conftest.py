"""Makes JAX strict, keeps compiled programs between runs, and finds the data that tests may use."""

import os
from pathlib import Path

import jax
import pytest

from nasgen.pipeline.environment import program_folder

ROOT = Path(__file__).resolve().parents[1]

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update(
    "jax_compilation_cache_dir", str(program_folder(ROOT / ".pytest_cache", "test-programs"))
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


def _folder(variable: str, beside: str) -> Path:
    named = os.environ.get(variable)
    folder = Path(named) if named else ROOT.parent / "shared" / beside
    if not folder.is_dir():
        pytest.skip(f"needs the folder {folder} (set {variable} to where it is)")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: `NASGEN_DATA`, else `../shared/data` beside the repository."""
    return _folder("NASGEN_DATA", "data")


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """The folder of reference values: `NASGEN_REFERENCE`, else `../shared/reference`."""
    return _folder("NASGEN_REFERENCE", "reference")
