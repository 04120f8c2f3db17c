"""`nasgen.score`, as a user calls it."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import nasgen
from nasgen.proxies import PROXIES, Proxy
from nasgen.spaces import SPACES, graphs
from nasgen.types import Architecture, MacroArchitecture, Stage


def architectures(num: int) -> list[Architecture]:
    cells = graphs.unpack(SPACES["open"].sample(jax.random.key(0), num))
    macro = MacroArchitecture((Stage(0, 8, 2, 1),), 16)
    return [Architecture(macro, (cell,)) for cell in cells]


def test_scores_of_real_digits():
    scores = nasgen.score(
        architectures(3), ("snip", "t_cet", "params"), "digits", jax.random.key(0), batch=16
    )
    assert set(scores.values) == {"snip", "t_cet", "params"} and not scores.reasons
    assert all(len(values) == 3 and (values > 0).all() for values in scores.values.values())
    mine = PROXIES | {"widest": Proxy(("gradients",), lambda p: max(np.abs(p.gradients[0]).flat))}
    few = {name: mine[name] for name in ("snip", "widest")}
    again = nasgen.score(architectures(3), few, "digits", jax.random.key(0), batch=16)
    np.testing.assert_array_equal(again.values["snip"], scores.values["snip"])
    assert (again.values["widest"] > 0).all()


def test_importing_nasgen_alone_imports_no_jax():
    code = "import nasgen, sys; assert 'jax' not in sys.modules; nasgen.score"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "opne"}, "`space` must be one of"),
        ({"proxies": ("snpi",)}, "`proxies` must be among"),
        ({"task": "digit"}, "digit"),
        ({"batch": 10**6}, "`batch` must be in 2\\.\\."),
    ],
)
def test_bad_requests(change, message):
    request = dict(proxies=("params",), task="digits", key=jax.random.key(0)) | change
    with pytest.raises(ValueError, match=message):
        nasgen.score(architectures(1), **request)
