"""Proxies: the reference's values, purity, and no compile for a new architecture."""

import jax
import numpy as np
import pytest

from nasgen.compile_clock import CLOCK
from nasgen.data.natural import natural_batch
from nasgen.networks.plans import PLANS
from nasgen.networks.plans.open import make_plan
from nasgen.networks.programs import PROGRAMS
from nasgen.proxies import PROXIES, Proxy
from nasgen.proxies.bare import named_by_use
from nasgen.proxies.engine import check_batch, score
from nasgen.proxies.nwot import log_det
from nasgen.spaces import SPACES, nb201, transnas
from nasgen.types import Architecture, Cell, MacroArchitecture, Op, Stage, Task
from tests.proxies import few_ops

TASK = Task("toy", (6, 6, 1), 3)


def _plans(num, task=TASK, *, repeats=1):
    return few_ops.plans(num, task, (Stage(0, 8, 1, repeats), Stage(0, 16, 2, 1)))


# In `open` networks a batch norm stands right before the average over pixels: the logits' sum over
# the batch is constant: its Jacobian says nothing, the NTK is singular, and `grad_sign` is zero.
CONSTANT = ("jacob_cov", "epe_nas", "ntk")


def _batch(num=8):
    rng = np.random.default_rng(0)
    return rng.normal(size=(num, *TASK.input_shape)).astype(np.float32), rng.integers(0, 3, num)


def test_every_proxy_is_finite_pure_and_independent_of_its_neighbours():
    plans, batch = _plans(4), _batch(16)  # 8 examples have only 256 patterns for `swap` to count
    together = score(plans, PROXIES, jax.random.key(1), *batch)
    assert set(together.values) == set(PROXIES)
    assert {name for name, _ in together.reasons} == set(CONSTANT)
    for name, values in together.values.items():
        assert np.isfinite(values).all() != (name in CONSTANT), name
        if name not in (*CONSTANT, "grad_sign"):
            assert len(set(values)) > 1, f"{name} says nothing"
    alone = score(plans[2:3], PROXIES, jax.random.key(1), *batch)
    for name, proxy in PROXIES.items():
        if isinstance(proxy, Proxy) and name not in CONSTANT:
            assert alone.values[name][0] == together.values[name][2], name


def test_images_of_any_number_of_channels():
    """From four channels on, images are padded as every other array is."""
    for channels in (1, 3, 4, 9):
        task = TASK._replace(input_shape=(6, 6, channels))
        images = np.random.default_rng(0).normal(size=(8, 6, 6, channels)).astype(np.float32)
        some = {name: PROXIES[name] for name in ("t_cet", "nwot", "synflow", "zen", "swap")}
        scores = score(_plans(1, task=task), some, jax.random.key(0), images, _batch()[1])
        assert all(np.isfinite(values).all() for values in scores.values.values()), channels


def test_every_proxy_scores_networks_of_series_and_of_each_pixel():
    """All but the one that asks for classes."""
    task = Task("waves", (9, 2), 2, "dense_regression", loss="mean_squared_error", stem_stride=2)
    cell = Cell((SPACES["open"].ops.index(Op("sep_conv", 3)),), ((0, 1), (0, 2), (1, 2)))
    macro = MacroArchitecture((Stage(0, 8, 2, 1), Stage(0, 8, 2, 1)), 8)
    plan = make_plan(Architecture(macro, (cell, cell)), SPACES["open"].ops, task)
    x, y = natural_batch(jax.random.key(0), 6, task)
    assert x.shape == (6, 9, 2) and y.shape == (6, 9, 2)
    scores = score([plan], PROXIES, jax.random.key(1), x, y)
    missing = {name for name, values in scores.values.items() if not np.isfinite(values[0])}
    assert missing == {"epe_nas"} and ("epe_nas", 0) in scores.reasons
    assert scores.values["t_cet"][0] > 0 and scores.values["grad_norm"][0] > 0
    with pytest.raises(ValueError, match=r"`targets` must be \[6, 9, 2\] for this network"):
        score([plan], PROXIES, jax.random.key(1), x, y[..., 0])


def test_another_key_draws_other_weights():
    plans, batch = _plans(1), _batch()
    snip = {"snip": PROXIES["snip"]}
    a, b = (score(plans, snip, jax.random.key(k), *batch).values["snip"][0] for k in (1, 2))
    assert a != b


def test_new_architectures_of_known_layers_compile_nothing():
    """Cells in another order, deeper stages: the programs of the first networks serve them."""
    plans, batch = _plans(3), _batch()
    some = {name: PROXIES[name] for name in ("t_cet", "nwot", "synflow", "fisher", "zico")}
    score(plans, some, jax.random.key(0), *batch)
    before = PROGRAMS.num_compiled, CLOCK.count
    score(plans[::-1], some, jax.random.key(5), *batch)
    score(_plans(3, repeats=3), some, jax.random.key(0), *batch)
    assert (PROGRAMS.num_compiled, CLOCK.count) == before


def test_a_users_proxy_joins_the_dict():
    def widest(passes):
        return max(np.abs(g).max() for g in passes.gradients)

    mine = {**PROXIES, "widest": Proxy(("gradients",), widest)}
    scores = score(_plans(2), mine, jax.random.key(0), *_batch())
    assert (scores.values["widest"] > 0).all()


def test_what_a_bare_function_reads_is_found():
    def mine(passes):
        return len(passes.kernels) * passes.agreements.sum() + np.abs(passes.gradients[0]).sum()

    found = named_by_use(mine, _plans(1)[0], *_batch())
    assert found == Proxy(("agreements", "gradients"), mine)
    assert named_by_use(PROXIES["l2_norm"].function, _plans(1)[0], *_batch()).needs == ()


def test_no_score_depends_on_which_others_are_asked_for():
    """`zen` and AZ-NAS draw at random, from one key."""
    plans, batch = _plans(1), _batch()
    names = ("zen", "az_trainability")
    both = score(plans, {name: PROXIES[name] for name in names}, jax.random.key(1), *batch)
    for name in names:
        alone = score(plans, {name: PROXIES[name]}, jax.random.key(1), *batch)
        assert alone.values[name][0] == both.values[name][0], name


CUT = [(0,) * 6, (2, 2, 2, 0, 0, 0), (0, 0, 2, 0, 2, 2), (1,) * 6]  # by zero at the output, input
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("space", "cells", "double"),
    [
        ("nb201", [nb201.cell(digits) for digits in CUT], False),
        pytest.param("nb201", [nb201.cell((4,) * 6)], True, marks=SLOW),
        pytest.param("nb201", [nb201.cell(digits) for digits in CUT], True, marks=SLOW),
        pytest.param("transnas_micro", [transnas.cell(d) for d in CUT], False, marks=SLOW),
        pytest.param("nb101", [Cell((), ((0, 1),))], False, marks=SLOW),
    ],
)
def test_cells_that_cut_the_network_off_have_scores_or_reasons(space, cells, double):
    task = Task("toy", (8, 8, 3), 4)
    plans = [PLANS[space](cell, task, channels=8, cells=1) for cell in cells]
    images = np.random.default_rng(0).standard_normal((4, 8, 8, 3)).astype(np.float32)
    key = jax.random.key(0)
    scores = score(plans, PROXIES, key, images, np.arange(4), double=double)
    for name, values in scores.values.items():
        marked = {index for proxy, index in scores.reasons if proxy == name}
        assert marked == set(np.flatnonzero(~np.isfinite(values))), name
    for name in ("params", "grad_norm", "snip", "nwot_outputs", "l2_norm"):
        assert np.isfinite(scores.values[name]).all(), name
    if len(cells) == len(CUT):
        assert {"jacob_cov", "synflow"} <= {name for name, index in scores.reasons if index == 0}


def test_a_score_that_is_not_finite_is_marked():
    bad = {"bad": Proxy((), lambda passes: float("nan") if passes.costs.params > 0 else 0.0)}
    scores = score(_plans(2), bad, jax.random.key(0), *_batch())
    assert np.isnan(scores.values["bad"]).all()
    why = "nan: the passes are finite, the proxy's own formula is not"
    assert scores.reasons == {("bad", 0): why, ("bad", 1): why}


def test_a_reason_is_found_in_what_the_proxy_itself_reads():
    task = Task("toy", (8, 8, 3), 4)
    plan = PLANS["nb201"](nb201.cell((0,) * 6), task, channels=8, cells=1)
    images = np.random.default_rng(0).standard_normal((4, 8, 8, 3)).astype(np.float32)
    some = {name: PROXIES[name] for name in ("synflow", "jacob_cov", "az_expressivity")}
    reasons = score([plan], some, jax.random.key(0), images, np.arange(4)).reasons
    assert reasons["synflow", 0] == "-inf: no synaptic flow reaches any layer"
    assert reasons["jacob_cov", 0] == "nan: jacobian is zero in 1 of 1 arrays"
    assert reasons["az_expressivity", 0].startswith("nan: blocks is zero in")
    images, labels = _batch()
    images[0] = np.nan
    snip = {"snip": PROXIES["snip"]}
    reasons = score(_plans(1), snip, jax.random.key(0), images, labels).reasons
    assert reasons == {("snip", 0): "nan: gradients not finite"}


def test_bad_input():
    images, labels = _batch()
    with pytest.raises(ValueError, match="`proxies` must name at least one"):
        score(_plans(1), {}, jax.random.key(0), images, labels)
    with pytest.raises(ValueError, match="`needs` of x must be among"):
        score(_plans(1), {"x": Proxy(("hessian",), float)}, jax.random.key(0), images, labels)
    with pytest.raises(ValueError, match="`targets` must be classes in 0..2; got 0..3"):
        score(_plans(1), PROXIES, jax.random.key(0), images, np.arange(8) % 4)
    with pytest.raises(ValueError, match=r"`targets` must be \[8\] for this network; got \[7\]"):
        check_batch(_plans(1)[0], images, labels[:7])
    with pytest.raises(ValueError, match="the proxy x must return one number; got None"):
        score(_plans(1), {"x": Proxy((), lambda _: None)}, jax.random.key(0), images, labels)
    with pytest.raises(ValueError, match="input shape"):
        score(_plans(1), PROXIES, jax.random.key(0), images[:, :4], labels)


def test_log_det_is_zero_where_singular():
    """A whole-number matrix of full rank has a determinant of at least one; rounding must not turn
    a rank-deficient one into hundreds below zero."""
    rng = np.random.default_rng(0)
    signs = np.where(rng.random((16, 4)) > 0.5, 1.0, -1.0)
    singular = (signs @ signs.T + 4) / 2
    many = np.where(rng.random((16, 500)) > 0.5, 1.0, -1.0)
    regular = (many @ many.T + 500) / 2
    result = log_det(np.stack([singular, regular]))
    assert result[0] == 0
    np.testing.assert_allclose(result[1], np.linalg.slogdet(regular)[1], rtol=1e-12)
    assert np.linalg.slogdet(singular)[1] < -50 or np.linalg.slogdet(singular)[0] <= 0


def test_what_is_noise_in_theory_is_marked():
    """A classifier that averages sums of batch norms, as in TransNAS-Bench-101: the summed logits
    are constant, so their Jacobian and the gradients of an example alone are zero."""
    task, names = Task("toy", (16, 16, 3), 4), ("jacob_cov", "epe_nas", "grad_sign", "ntk")
    plans = [
        PLANS["transnas_micro"](transnas.cell(digits), task, channels=8, cells=1)
        for digits in ((3, 1, 2, 3, 1, 0), (2, 3, 3, 1, 2, 3))
    ]
    images = np.random.default_rng(0).standard_normal((4, 16, 16, 3)).astype(np.float32)
    proxies = {name: PROXIES[name] for name in (*names, "grad_norm")}
    scores = score(plans, proxies, jax.random.key(0), images, np.arange(4)).values
    assert np.isnan(scores["jacob_cov"]).all() and np.isnan(scores["epe_nas"]).all()
    assert (scores["grad_sign"] == 0).all() and np.isinf(scores["ntk"]).all()
    assert (scores["grad_norm"] > 0).all()
