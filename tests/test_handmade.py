"""Networks made by hand: costs as counted by hand, any budget kept and nearly used up."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nasgen
from nasgen.networks import costs
from nasgen.networks.network import Network, init_network
from nasgen.networks.plans.open import make_plan
from nasgen.published import handmade
from nasgen.spaces.graphs import pack
from nasgen.spaces.macro import broken_rules
from nasgen.spaces.open import OPS, SPACE
from nasgen.types import Budget, Task

LARGE = Task("large", (64, 48, 1), 100, stem_stride=2)


@dataclasses.dataclass
class Ledger:
    """Params and MACs, added up layer by layer from what the papers say."""

    params: int = 0
    macs: int = 0

    def conv(self, inputs: int, outputs: int, size: int, *, kernel: int = 1, norm: bool = True):
        self.params += kernel**2 * inputs * outputs + 2 * norm * outputs
        self.macs += kernel**2 * inputs * outputs * size**2

    def depthwise(self, width: int, size: int, *, norm: bool = True):
        self.params += 9 * width + 2 * norm * width
        self.macs += 9 * width * size**2

    def linear(self, inputs: int, outputs: int):
        self.params += (inputs + 1) * outputs
        self.macs += inputs * outputs


def he_resnet20() -> Ledger:
    """The paper's own, with shortcuts that have no params."""
    found = Ledger()
    found.conv(3, 16, 32, kernel=3)
    for inputs, width, size in ((16, 16, 32), (16, 32, 16), (32, 64, 8)):
        found.conv(inputs, width, size, kernel=3)
        for _ in range(5):
            found.conv(width, width, size, kernel=3)
    found.linear(64, 10)
    return found


def test_resnet20_is_the_papers_with_a_head_and_projections():
    theirs, ours = he_resnet20(), nasgen.create_model("resnet20")
    assert theirs.params == 269_722  # "0.27 M" in table 6
    assert theirs.macs == 40_551_040
    theirs.conv(16, 32, 16)
    theirs.conv(32, 64, 8)
    theirs.params += 2 * 64  # the norm before the head
    theirs.conv(64, 64, 8)
    assert (ours.params, ours.macs) == (theirs.params, theirs.macs) == (276_826, 41_075_328)
    assert costs.count(ours.plan).depth == 6 * 3 + 2 + 1  # and the head's


def test_mobilenet_v2_is_the_papers_table():
    found, width, size = Ledger(), 16, 32
    found.conv(3, 16, 32, kernel=3)
    table = [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
    for expansion, channels, repeats, stride in [*table, (6, 160, 3, 2), (6, 320, 1, 1)]:
        for repeat in range(repeats):
            before, stride = size, stride if repeat == 0 else 1
            size, inner = size // stride, expansion * width
            if expansion > 1:
                found.conv(width, inner, before)
            found.depthwise(inner, size, norm=expansion > 1)
            found.conv(inner, channels, size)
            if width != channels or stride > 1:
                found.conv(width, channels, size)  # the shortcut
            width = channels
    found.params += 2 * 320
    found.conv(320, 1_024, size)
    found.linear(1_024, 10)
    ours = nasgen.create_model("mobilenet_v2")
    assert (ours.params, ours.macs) == (found.params, found.macs) == (2_228_698, 87_990_272)


@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
def test_depth_is_that_of_the_name(blocks):
    plan = make_plan(handmade.resnet(blocks=blocks), OPS, handmade.TASK)
    assert costs.count(plan).depth == 6 * blocks + 3


@pytest.mark.parametrize("family", handmade.FAMILIES)
@pytest.mark.parametrize("task", [handmade.TASK, LARGE], ids=lambda task: task.name)
def test_budgets_are_kept_and_nearly_used_up(family, task):
    kept = []
    for params, macs in [
        (100_000, 10_000_000),
        (50_000, 5_000_000),
        (250_000, 40_000_000),
        (1_000_000, None),
        (None, 60_000_000),
    ]:
        budget = Budget(params=params, macs=macs)
        made = handmade.scaled_to(family, budget, task)
        counted = costs.count_many([made], OPS, task)
        used = [getattr(counted, n)[0] / b for n, b in budget.counted.items() if b is not None]
        assert max(used) <= 1
        kept.append(max(used))
        assert not broken_rules(made.macro, num_clusters=1, size=24)
        assert SPACE.is_valid(pack(made.cells)).all()
        start = handmade.FAMILIES[family]
        assert made.cells == start.cells
        assert [s.stride for s in made.macro.stages] == [s.stride for s in start.macro.stages]
    assert min(kept) >= 0.9


def test_more_room_is_a_larger_network():
    budgets = [Budget(params=n) for n in (20_000, 60_000, 200_000, 600_000)]
    made = [handmade.scaled_to("resnet", one, handmade.TASK) for one in budgets]
    counted = costs.count_many(made, OPS, handmade.TASK)
    assert (np.diff(counted.params) > 0).all() and (np.diff(counted.macs) > 0).all()


def test_the_family_at_its_own_costs_is_the_network_itself():
    model = nasgen.create_model("resnet20")
    budget = Budget(params=model.params, macs=model.macs)
    assert handmade.scaled_to("resnet", budget, model.task) == model.architecture


@pytest.mark.parametrize("family", handmade.FAMILIES)
def test_forward_shape(family):
    task = Task("tiny", (9, 8, 2), 7)
    architecture = handmade.scaled_to(family, Budget(params=30_000), task)
    plan = make_plan(architecture, OPS, task)
    variables = init_network(jax.random.key(0), plan)
    images = jax.ShapeDtypeStruct((3, *task.input_shape), jnp.float32)
    with jax.numpy_rank_promotion("allow"):
        logits = jax.eval_shape(Network(plan).apply, variables, images)
    assert logits.shape == (3, 7)


@pytest.mark.parametrize(
    ("family", "budget", "says"),
    [
        ("resnett", Budget(params=10_000), "`family` must be one of .* nearest is 'resnet'"),
        ("resnet", Budget(), "`budget` must bound params, MACs or activation memory"),
        ("resnet", Budget(params=10_000, latency_ms=1.0), "and not latency"),
        ("mobilenet_v2", Budget(macs=100_000), "must allow the smallest mobilenet_v2 for cifar10"),
    ],
)
def test_bad_requests(family, budget, says):
    with pytest.raises(ValueError, match=says) as caught:
        handmade.scaled_to(family, budget, handmade.TASK)
    assert "\n" not in str(caught.value)
