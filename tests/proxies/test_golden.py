"""Passes and scores in float64 against `golden.npz`: definitions written out in NumPy.

See `make_golden`: three networks, one in the paper's space, one like NAS-Bench-201's, one of every
other kind of layer. Zeros and infinities there are of theory, so they are the same here.
"""

from typing import NamedTuple

import jax
import numpy as np
import pytest

from nasgen.proxies import PROXIES, Passes, Proxy
from nasgen.proxies.passes import Draws, run_passes
from tests.proxies import golden

NEEDS = Passes._fields[4:]
SINGLE = [name for name, proxy in PROXIES.items() if isinstance(proxy, Proxy)]
EXACT = ("agreements", "relu_agreements", "fresh_relu_agreements", "patterns", "sign_sums")


class Pair(NamedTuple):
    wanted: golden.Golden
    found: Passes


@pytest.fixture(scope="module", params=["open", "residual", "mixed"])
def pair(request) -> Pair:
    one = golden.read()[["open", "residual", "mixed"].index(request.param)]
    draws = Draws(*one.zen, one.signs)
    with jax.enable_x64(True):
        found = run_passes(
            one.plan, one.weights, one.images, one.labels, NEEDS, draws, dtype=np.float64
        )
    return Pair(one, found)


@pytest.mark.parametrize("need", NEEDS)
def test_passes_in_float64(pair, need):
    wanted, found = (list(_arrays(getattr(p, need))) for p in (pair.wanted.passes, pair.found))
    if need == "blocks":  # a transfer's rows may come in any order
        wanted, found = ([_invariant(a) for a in arrays] for arrays in (wanted, found))
    assert len(wanted) == len(found)
    largest = max(np.abs(a[np.isfinite(a)]).max(initial=0) for a in wanted)
    for number, (a, b) in enumerate(zip(wanted, found, strict=True)):
        if need in EXACT:
            np.testing.assert_array_equal(b, a, err_msg=f"layer {number}")
        else:
            rtol = 1e-6 if need == "curvature" else 1e-8  # a difference quotient there
            message = f"{need}, layer {number}"
            np.testing.assert_allclose(b, a, rtol=rtol, atol=rtol * largest, err_msg=message)


def _arrays(value):
    if isinstance(value, np.ndarray):
        yield value
    else:
        for one in value:
            yield from _arrays(one)


def _invariant(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.svd(matrix, compute_uv=False)


@pytest.mark.parametrize("name", SINGLE)
def test_scores_in_float64(pair, name):
    value = PROXIES[name].function(pair.found)
    np.testing.assert_allclose(value, pair.wanted.scores[name], rtol=1e-6, atol=1e-10)
