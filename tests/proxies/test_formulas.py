"""Each proxy's formula: against `golden.npz`, its properties, its singular cases."""

import sys

import numpy as np
import pytest

from nasgen.proxies import PROXIES, Ensemble, Passes, Proxy
from nasgen.proxies.az_nas import log_rank_sum
from nasgen.proxies.nwot import log_det
from nasgen.proxies.proxy import Blocks, Zen
from nasgen.types import Costs
from tests.proxies import golden

NETWORKS = golden.read()
SINGLE = [name for name, proxy in PROXIES.items() if isinstance(proxy, Proxy)]
COSTS = Costs(params=7, macs=50, layers=2, depth=2, activation_memory=0)


def score(name: str, passes: Passes) -> float:
    return PROXIES[name].function(passes)


def make(**fields) -> Passes:
    """Passes of nothing but these fields, two classes and four examples."""
    start = dict(costs=COSTS, kernels=[], targets=np.array([0, 1, 0, 1]), num_classes=2)
    return Passes(**(start | fields))


# ---- every proxy --------------------------------------------------------------------------------


@pytest.mark.parametrize("network", range(len(NETWORKS)))
@pytest.mark.parametrize("name", SINGLE)
def test_scores_are_those_of_the_definition_in_numpy(name, network):
    """From `make_golden`; a NaN or infinity there is one here."""
    one = NETWORKS[network]
    value = score(name, one.passes)
    assert isinstance(value, float)
    np.testing.assert_allclose(value, one.scores[name], rtol=1e-6, atol=1e-12)


def test_the_ensemble_is_that_of_the_definition_in_numpy():
    ensemble = PROXIES["az_nas"]
    parts = [[score(part, one.passes) for one in NETWORKS] for part in ensemble.parts]
    wanted = [one.scores["az_nas"] for one in NETWORKS]
    np.testing.assert_allclose(ensemble.combine(np.array(parts)), wanted, rtol=1e-12)


def test_the_golden_file_covers_every_proxy():
    assert set(NETWORKS[0].scores) == set(PROXIES)


@pytest.mark.parametrize("name", PROXIES)
def test_every_proxy_says_where_it_comes_from_and_what_it_needs(name):
    proxy = PROXIES[name]
    if isinstance(proxy, Ensemble):
        assert all(isinstance(PROXIES[part], Proxy) for part in proxy.parts)
        function = proxy.combine
    else:
        assert set(proxy.needs) <= set(Passes._fields[4:])
        function = proxy.function
    module = sys.modules[function.__module__].__doc__
    assert function.__doc__
    if name not in ("params", "macs", "layers"):  # counts have no paper
        assert "et al." in module or "&" in module, "no paper"
        assert any(year in module for year in map(str, range(2019, 2027))), "no year"


@pytest.mark.parametrize("name", SINGLE)
def test_a_proxy_reads_only_what_it_names(name):
    """Everything else is None, as where no other proxy asks for it."""
    full = NETWORKS[1].passes
    named = {need: getattr(full, need) for need in PROXIES[name].needs}
    bare = Passes(full.costs, full.kernels, full.targets, full.num_classes, **named)
    assert score(name, bare) == score(name, full)


@pytest.mark.parametrize("name", SINGLE)
def test_float32_passes_give_nearly_the_same_score(name):
    """No formula loses its digits in single precision."""
    full = NETWORKS[2].passes

    def narrow(value):
        if isinstance(value, np.ndarray):
            return value.astype(np.float32) if value.dtype == np.float64 else value
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(narrow, value))
        return [narrow(one) for one in value] if isinstance(value, list | tuple) else value

    fields = {need: narrow(getattr(full, need)) for need in PROXIES[name].needs}
    exact = {k: v.astype(np.float64) for k, v in fields.items() if k.endswith("agreements")}
    kernels = narrow(full.kernels)
    narrowed = Passes(full.costs, kernels, full.targets, full.num_classes, **(fields | exact))
    np.testing.assert_allclose(score(name, narrowed), score(name, full), rtol=1e-4)


@pytest.mark.parametrize("name", ["jacob_cov", "epe_nas", "nwot", "nwot_layers", "ntk", "fisher"])
def test_the_order_of_examples_does_not_matter(name):
    full = NETWORKS[1].passes
    order = np.random.default_rng(0).permutation(len(full.targets))
    both = np.ix_(order, order)
    shuffled = full._replace(
        targets=full.targets[order],
        jacobian=full.jacobian[order],
        relu_agreements=full.relu_agreements[:, *both],
        agreements=full.agreements[:, *both],
        ntk=full.ntk[both],
        products=[p[order] for p in full.products],
    )
    np.testing.assert_allclose(score(name, shuffled), score(name, full), rtol=1e-9)


DEGREES = {
    "grad_norm": ("gradients", 1),
    "snip": ("gradients", 1),
    "plain": ("gradients", 1),
    "grasp": ("curvature", 1),
    "fisher": ("products", 2),
    "snip_snr": ("gradients", 0),
    "t_cet": ("gradients", 0),
    "jacob_cov": ("jacobian", 0),
    "epe_nas": ("jacobian", 0),
    "ntk": ("ntk", 0),
    "l2_norm": ("kernels", 1),
}


@pytest.mark.parametrize("name", DEGREES)
def test_how_scores_scale(name):
    """Homogeneous, of the degree that the formula says."""
    (field, degree), full = DEGREES[name], NETWORKS[1].passes
    value = getattr(full, field)
    larger = 3 * value if isinstance(value, np.ndarray) else [3 * array for array in value]
    wanted = 3**degree * score(name, full)
    np.testing.assert_allclose(score(name, full._replace(**{field: larger})), wanted, rtol=1e-9)


# ---- single formulas, values by hand -------------------------------------------------------------


def test_fisher_counts_a_channel_once_for_each_of_its_weights():
    product = np.array([[1.0, 2.0], [3.0, 4.0]])
    halves = (0.5 * (1 + 9) / 2, 0.5 * (4 + 16) / 2)
    for shape, count in {(3, 3, 5, 2): 45, (3, 3, 2): 9, (5, 2): 5}.items():
        value = score("fisher", make(kernels=[np.ones(shape)], products=[product]))
        assert value == count * sum(halves)


def test_grasp_has_the_sign_of_zero_cost_nas():
    """Its -theta * (H g), positive where removing a weight would lower the gradient norm."""
    passes = make(kernels=[np.array([[2.0]])], curvature=[np.array([[-3.0]])])
    assert score("grasp", passes) == 6


def test_nwot_is_zero_without_a_relu():
    assert score("nwot", make(relu_agreements=np.zeros((0, 4, 4)))) == 0


def test_log_det_of_whole_numbers():
    regular = np.array([[5.0, 2.0], [2.0, 4.0]])
    singular = np.ones((2, 2))
    np.testing.assert_allclose(log_det(np.stack([regular, singular])), [np.log(16), 0])


def test_t_cet_synflow_survives_ratios_beyond_float64():
    agreements = np.stack([4 * np.eye(2)] * 3)
    passes = make(synflow_snr=np.array([2000.0, -np.inf, 0.0]), agreements=agreements)
    np.testing.assert_allclose(score("t_cet_synflow", passes), np.log(16) * (2000 + np.log(2)))


def test_zico_leaves_out_weights_and_layers_without_deviation():
    first, second = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, -2.0])
    still = np.ones(4)
    passes = make(half_gradients=([first, still], [second, still]))
    np.testing.assert_allclose(score("zico", passes), np.log(2 / 1 + 2 / 2))
    assert score("zico", make(half_gradients=([still], [still]))) == 0


def test_zico_rises_as_the_halves_agree():
    first = np.random.default_rng(0).normal(size=20)
    values = [score("zico", make(half_gradients=([first], [first * by]))) for by in (2, 1.5, 1.1)]
    assert values[0] < values[1] < values[2]


def test_zen_is_minus_infinity_where_the_noise_is_lost():
    zen = Zen(np.zeros(4), np.array([4.0]))
    assert score("zen", make(zen=zen)) == -np.inf
    zen = Zen(np.full(4, np.e), np.array([np.e**2, np.e**4]))
    np.testing.assert_allclose(score("zen", make(zen=zen)), 1 + 1 + 2)


def test_jacob_cov_of_independent_and_of_equal_examples():
    independent = np.array([[1.0, -1, 0, 0], [0, 0, 1, -1]])
    k = 1e-5
    best = -2 * (np.log(1 + k) + 1 / (1 + k))
    np.testing.assert_allclose(score("jacob_cov", make(jacobian=independent)), best)
    equal = np.stack([independent[0]] * 2)
    worst = -(np.log(2 + k) + 1 / (2 + k)) - (np.log(k) + 1 / k)
    np.testing.assert_allclose(score("jacob_cov", make(jacobian=equal)), worst, rtol=1e-6)


@pytest.mark.parametrize("name", ["jacob_cov", "epe_nas"])
def test_a_jacobian_without_variation_gives_nan(name):
    rows = np.random.default_rng(0).normal(size=(4, 5))
    rows[2] = 0
    assert np.isnan(score(name, make(jacobian=rows)))


def _class_sum(rows) -> float:
    return np.log(np.abs(np.corrcoef(rows)) + 1e-5).sum()


def test_epe_nas_of_few_and_of_many_classes():
    """Classes: three examples, two, one. The last counts next to nothing among few classes and is
    left out among many."""
    rows = np.random.default_rng(0).normal(size=(6, 9))
    labels = np.array([5, 2, 5, 5, 2, 0])
    a, b = _class_sum(rows[[0, 2, 3]]), _class_sum(rows[[1, 4]])
    few = score("epe_nas", make(jacobian=rows, targets=labels, num_classes=100))
    np.testing.assert_allclose(few, abs(a) + abs(b) + np.log(1 + 1e-5))
    many = score("epe_nas", make(jacobian=rows, targets=labels, num_classes=101))
    np.testing.assert_allclose(many, 2 * abs(a / 3 - b / 2) / 2)
    lonely = make(jacobian=rows[:2], targets=labels[:2], num_classes=101)
    assert np.isnan(score("epe_nas", lonely))


def test_ntk_of_a_singular_kernel_is_infinite():
    rows = np.random.default_rng(0).normal(size=(8, 50))
    kernel = rows @ rows.T
    np.testing.assert_allclose(score("ntk", make(ntk=kernel)), np.linalg.cond(kernel))
    rows[-1] = -rows[:-1].sum(0)  # constant summed logits
    assert score("ntk", make(ntk=rows @ rows.T)) == np.inf
    rough = rows.astype(np.float32).astype(np.float64)
    assert score("ntk", make(ntk=rough @ rough.T)) == np.inf
    assert score("ntk", make(ntk=np.zeros((8, 8)))) == np.inf
    assert np.isnan(score("ntk", make(ntk=np.full((8, 8), np.nan))))


def test_swap_counts_patterns_over_all_relus_and_words():
    rng = np.random.default_rng(0)
    patterns = [rng.integers(0, 3, (2, n)).astype(np.uint32) for n in (7, 1, 30)]
    columns = {tuple(column) for words in patterns for column in words.T}
    assert score("swap", make(patterns=patterns)) == len(columns)
    again = [*patterns, patterns[0]]
    assert score("swap", make(patterns=again)) == len(columns)
    assert score("swap", make(patterns=[])) == 0


# ---- AZ-NAS --------------------------------------------------------------------------------------


def test_expressivity_is_greatest_where_channels_share_the_variance_equally():
    def value(variances) -> float:
        covariances = [np.diag(np.array(one, np.float64)) for one in variances]
        return score("az_expressivity", make(blocks=Blocks(covariances, [])))

    np.testing.assert_allclose(value([[3, 3, 3, 3]]), np.log(4), rtol=1e-6)
    np.testing.assert_allclose(value([[5, 0]]), 0, atol=1e-7)
    np.testing.assert_allclose(value([[5, 0], [1, 1]]), np.log(2), rtol=1e-6)
    assert value([[1, 2, 3]]) < value([[2, 2, 2]])
    assert np.isnan(value([[0, 0]]))


def test_progressivity_is_the_least_gain():
    covariances = [np.diag(v) for v in ([1.0, 0], [1.0, 1], [1.0, 1, 1], [1.0, 1, 1, 1])]
    value = score("az_progressivity", make(blocks=Blocks(covariances, [])))
    np.testing.assert_allclose(value, np.log(4 / 3), rtol=1e-5)


def test_trainability_is_greatest_at_a_singular_value_of_one():
    def value(*transfers) -> float:
        return score("az_trainability", make(blocks=Blocks([], list(transfers))))

    turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    np.testing.assert_allclose(value(turn), 0, atol=1e-5)
    assert value(0.5 * turn) < 0 and value(2 * turn) < 0
    np.testing.assert_allclose(value(turn, 2 * turn), (2 - 2 - 0.5) / 2, atol=1e-5)


def test_a_block_that_passes_its_input_on_is_untrainable():
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (40, 3))
    same = signs.T @ signs / 40
    blocks = Blocks([], [np.eye(2), 0.7 * same])
    assert score("az_trainability", make(blocks=blocks._replace(transfers=[same]))) == -np.inf
    assert np.isfinite(
        score("az_trainability", make(blocks=blocks._replace(transfers=[0.7 * same])))
    )


def test_the_log_rank_sum_depends_on_order_alone():
    parts = np.random.default_rng(0).normal(size=(4, 9))
    bent = np.stack([np.exp(parts[0]), parts[1] ** 3, 5 * parts[2] - 1, np.arctan(parts[3])])
    np.testing.assert_array_equal(log_rank_sum(parts), log_rank_sum(bent))
    order = np.random.default_rng(1).permutation(9)
    np.testing.assert_allclose(log_rank_sum(parts[:, order]), log_rank_sum(parts)[order])
    best = np.stack([np.arange(9.0)] * 4)
    np.testing.assert_allclose(log_rank_sum(best), 4 * np.log(np.arange(1, 10) / 9))


def test_the_log_rank_sum_with_equals_and_with_parts_that_are_missing():
    parts = np.array([[1.0, 1.0, 5.0, 7.0], [-np.inf, 2.0, np.nan, 3.0]])
    result = log_rank_sum(parts)
    assert np.isnan(result[2])
    wanted = np.log([1.5 / 3, 1.5 / 3, 3 / 3]) + np.log([1 / 3, 2 / 3, 3 / 3])
    np.testing.assert_allclose(result[[0, 1, 3]], wanted)
    assert np.isnan(log_rank_sum(np.full((4, 2), np.nan))).all()
