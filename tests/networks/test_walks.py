"""Walks over compiled programs: equal to JAX's own gradients, exact under padding, no surprises."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nasgen.networks import flows, ops, padding, walks
from nasgen.networks.network import Network, linear_part
from nasgen.networks.padding import bucket
from nasgen.networks.plan import Plan
from nasgen.networks.plans.open import make_plan
from nasgen.networks.programs import PROGRAMS, Programs, Signature, lowered
from nasgen.proxies import passes
from nasgen.spaces import SPACES
from nasgen.types import KINDS, Architecture, Cell, MacroArchitecture, Op, Stage, Task, sides

OPEN = SPACES["open"]
CODE = {op: index for index, op in enumerate(OPEN.ops)}
BATCH = 6
PASSES = ("gradients", "agreements", "synflow")
# What runs once only, in float64, need not be fast.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def codes(*ops: tuple[str, int]) -> tuple[int, ...]:
    return tuple(CODE[Op(*op)] for op in ops)


def plan_of(size: tuple[int, ...], stages: tuple[Stage, ...], final: int, cells, **task) -> Plan:
    """Widths need not be multiples of 8 here."""
    architecture = Architecture(MacroArchitecture(stages, final), cells)
    return make_plan(architecture, OPEN.ops, Task("toy", (*size, 3), 5, **task))


# Each kind of op, each kernel; raw inputs with stride 2 and with a change of width; sums; a
# projection that nobody reads (second cell); odd sizes; the third ends on a single pixel.
CELLS = (
    Cell(
        codes(("mbconv_2", 3), ("avg_pool", 3), ("sep_conv", 5), ("conv", 1)),
        ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (0, 4), (4, 5), (1, 5)),
    ),
    Cell(
        codes(("avg_pool", 5), ("conv", 3), ("dil_conv", 5), ("bconv_05", 5)),
        ((0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (2, 5), (3, 5), (4, 5)),
    ),
    Cell(
        codes(("avg_pool", 1), ("bconv_025", 1), ("dil_conv", 3)),
        ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4)),
    ),
)
PLANS = {
    "padded": plan_of((7, 6), (Stage(0, 8, 1, 1), Stage(0, 40, 2, 1)), 20, CELLS[:2]),
    "pixel": plan_of((2, 1), (Stage(0, 12, 2, 1),), 4, CELLS[2:]),
    "series": plan_of((9,), (Stage(0, 8, 1, 1), Stage(0, 16, 2, 1)), 20, CELLS[:2]),
    "map": plan_of(
        *((7, 5), (Stage(0, 8, 2, 1), Stage(0, 12, 2, 1)), 20, CELLS[1:]),
        **dict(kind="segmentation", stem_stride=2),
    ),
}


def weights_and_images(plan: Plan):
    rng = np.random.default_rng(3)
    images = rng.normal(size=(BATCH, *plan.input_shape)).astype(np.float32)
    shape = (BATCH, *plan.target_shape)
    labels = np.arange(np.prod(shape), dtype=np.int32).reshape(shape) % plan.num_classes
    return padding.draw_weights(rng, plan), images, labels


@pytest.fixture(scope="module", params=PLANS)
def plan(request):
    return PLANS[request.param]


def all_passes(plan: Plan, run):
    """What the three passes return, their arrays padded."""
    weights, images, labels = weights_and_images(plan)
    padded, images = padding.pad_plan(plan, weights), padding.pad_images(images)
    forward = walks.walk_forward(plan, padded, images, run)
    seed = walks.loss_gradient(plan, forward, labels, run)
    gradients = walks.walk_backward(plan, padded, forward, seed, run).kernels
    agreements = walks.walk_codes(plan, padded, images, run).outputs
    return forward, gradients, agreements, layer_flows(plan, weights, run)


def layer_flows(plan: Plan, weights, run) -> list[float | None]:
    """log of each step's synaptic flow, None where there is none."""
    walked = flows.walk_flows(plan, padding.pad_plan(plan, weights), run)
    rows = zip(plan.steps, weights, walked, strict=True)
    return [
        None if f is None else flows.layer_flow(s.layer, w["kernel"], f).total for s, w, f in rows
    ]


@pytest.fixture(scope="module")
def walked(plan):
    """The passes, run in one go; with what they ran and what was compiled on the way."""
    compiled, events, ran = [], [], set()
    compiled.append(passes.compile_for([plan], PASSES, BATCH))
    before = PROGRAMS.num_compiled
    is_compile = "/jax/core/compile/backend_compile_duration"
    listener = lambda name, *_, **__: events.append(name) if name == is_compile else None  # noqa: E731

    def run(name, constants, *arrays):
        ran.add(Signature(name, arrays[0].shape, constants))
        return PROGRAMS.run(name, constants, *arrays)

    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        results = all_passes(plan, run)
        surprises = len(events)
        jax.jit(lambda x: x - 17)(1.0)  # the listener does hear compilations
        assert len(events) > surprises
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    return results, ran, PROGRAMS.num_compiled - before, surprises


def test_signatures_are_exactly_what_walks_run(plan, walked):
    _, ran, newly_compiled, compile_events = walked
    assert set(passes.signatures(plan, PASSES, BATCH)) == ran
    assert newly_compiled == 0 and compile_events == 0
    assert passes.compile_for([plan], PASSES, BATCH) == 0


def linen_gradients(plan: Plan, *, dtype=jnp.float64):
    """Logits and gradients of the loss by every kernel, from JAX itself."""
    weights, images, labels = weights_and_images(plan)
    params = {step.name: dict(w) for step, w in zip(plan.steps, weights, strict=True)}
    stats = {}
    for step in plan.steps:
        width = step.layer.out_channels
        if step.layer.norm == "affine":
            params[step.name] |= {"scale": np.ones(width), "shift": np.zeros(width)}
        if step.layer.norm != "none":
            stats[step.name] = {"mean": np.zeros(width), "variance": np.ones(width)}
    params = {name: w for name, w in params.items() if w}

    def loss(params):
        variables = {"params": params, "batch_stats": stats}
        model = Network(plan, "native")
        logits, _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), logits

    with jax.enable_x64(dtype == jnp.float64):
        params, stats, images = jax.tree.map(
            lambda x: jnp.asarray(x, dtype), (params, stats, images)
        )
        gradients, logits = quick_jit(jax.grad(loss, has_aux=True))(params)
        return jax.device_get((logits, gradients))


def test_gradients_are_those_of_jax(plan, walked):
    # Against float64, so that all noise is ours. A layer's error is measured by its largest
    # gradient; where that is all but zero (a projection nobody reads, and in theory any depthwise
    # kernel of size 1 before a batch norm) by a thousandth of the network's largest.
    (forward, gradients, _, _), *_ = walked
    logits, expected = linen_gradients(plan)
    np.testing.assert_allclose(forward.values[-1], logits, atol=1e-4)  # no series is dense here
    steps = [step for step in plan.steps if step.layer.has_kernel]
    largest = max(np.abs(expected[step.name]["kernel"]).max() for step in steps)
    for step, padded in zip(plan.steps, gradients, strict=True):
        if not step.layer.has_kernel:
            continue
        theirs = expected[step.name]["kernel"]
        ours = padding.true_gradient(step.layer, None if padded is None else np.asarray(padded))
        scale = max(np.abs(theirs).max(), 1e-3 * largest)
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * scale, rtol=0, err_msg=step.name)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("multi_label", (9,)), ("regression", (4, 3)), ("dense_regression", (9,))],
)
def test_gradients_of_other_losses_are_those_of_jax(kind, shape):
    loss = KINDS[kind].loss
    plan = plan_of(shape, (Stage(0, 8, 2, 1),), 12, CELLS[2:], kind=kind, loss=loss)
    weights, images, _ = weights_and_images(plan)
    targets = np.random.default_rng(0).integers(0, 2, (BATCH, *plan.target_shape))
    targets = targets.astype(np.float32)
    padded = padding.pad_plan(plan, weights)
    forward = walks.walk_forward(plan, padded, padding.pad_images(images), PROGRAMS.run)
    seed = walks.loss_gradient(plan, forward, targets, PROGRAMS.run)
    means = {
        "binary_cross_entropy": lambda z: optax.sigmoid_binary_cross_entropy(z, targets).mean(),
        "mean_squared_error": lambda z: jnp.square(z - targets).mean(),
    }
    logits = np.asarray(forward.values[-1]).reshape(targets.shape)
    expected = jax.grad(means[loss])(jnp.asarray(logits))
    np.testing.assert_allclose(np.reshape(seed, targets.shape), expected, atol=1e-6)


def test_unread_projections_have_no_gradient(plan, walked):
    (_, gradients, _, _), *_ = walked
    read = {value for step in plan.steps for value in step.inputs}
    unread = [i for i in range(len(plan.steps) - 1) if i + 1 not in read]
    none = [
        i
        for i, (g, s) in enumerate(zip(gradients, plan.steps, strict=True))
        if g is None and s.layer.has_kernel
    ]
    assert none == unread
    for index in none:
        assert not padding.true_gradient(plan.steps[index].layer, None).any()


def layer_outputs(plan: Plan, weights, x, *, relu: bool, norm: bool):
    """Each step's linear part at its true width, and what follows it; in the arrays' precision."""
    values, linear = [x], []
    for step, w in zip(plan.steps, weights, strict=True):
        y = sum(values[i] for i in step.inputs)
        y = jax.nn.relu(y) if relu and step.layer.relu else y
        y = linear_part(step.layer, w, y, lowering="native")
        linear.append(y)
        values.append(y / np.sqrt(1 + ops.EPSILON) if norm and step.layer.norm != "none" else y)
    return linear, values[-1]


def test_codes_are_exact_under_padding(plan, walked):
    (_, _, agreements, _), *_ = walked
    weights, images, _ = weights_and_images(plan)
    with jax.enable_x64(True):
        weights = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), weights)
        outputs = quick_jit(lambda w, x: layer_outputs(plan, w, x, relu=True, norm=True)[0])
        outputs = jax.device_get(outputs(weights, padding.pad_images(images, dtype=np.float64)))
    steps = [(s, y) for s, y in zip(plan.steps, outputs, strict=True) if s.layer.has_kernel]
    assert len(steps) == len(agreements)
    for (step, output), ours in zip(steps, agreements, strict=True):
        signs = (output > 0).reshape(BATCH, -1)
        expected = (signs[:, None] == signs[None]).sum(-1)
        assert step.layer.out_channels * np.prod(step.out_size) == signs.shape[1]
        # Whole numbers, so equal to the last one; float32 may see a sign at zero otherwise, which
        # happens in none of these networks.
        np.testing.assert_array_equal(ours - padding.padded_units(step), expected, step.name)


def test_synflow_is_that_of_jax(plan, walked):
    (_, _, _, found), *_ = walked
    weights, _, _ = weights_and_images(plan)
    with jax.enable_x64(True):
        weights = [{n: jnp.asarray(np.abs(a), jnp.float64) for n, a in w.items()} for w in weights]
        ones = jnp.ones((1, *sides(plan.input_shape), plan.input_shape[-1]), jnp.float64)
        total = lambda w: layer_outputs(plan, w, ones, relu=False, norm=False)[1].sum()  # noqa: E731
        weights, gradients = jax.device_get((weights, quick_jit(jax.grad(total))(weights)))
    for step, w, g, flow in zip(plan.steps, weights, gradients, found, strict=True):
        expected = np.sum(w["kernel"] * g["kernel"]) if "kernel" in w else 0.0
        if expected == 0:
            assert flow is None, step.name
        else:
            np.testing.assert_allclose(flow, np.log(expected), atol=2e-5, err_msg=step.name)


def test_synflow_of_a_deep_network_does_not_overflow():
    # 16 cells of three bottlenecks of expansion 6: a flow of e^98, where float32 ends at e^88. All
    # layers lie on every path here, so they have the same flow: conservation.
    ops_of_cell = codes(("mbconv_6", 1), ("mbconv_6", 1), ("mbconv_6", 1))
    cell = Cell(ops_of_cell, ((0, 1), (1, 2), (2, 3), (3, 4)))
    stages = (Stage(0, 24, 1, 4),) * 4
    task = Task("toy", (2, 2, 3), 5)
    plan = make_plan(Architecture(MacroArchitecture(stages, 8), (cell,) * 4), OPEN.ops, task)
    weights = padding.draw_weights(np.random.default_rng(0), plan)
    weights[-1]["bias"].fill(0)
    found = layer_flows(plan, weights, PROGRAMS.run)
    found = np.array([flow for flow in found if flow is not None])
    assert len(found) > 140 and found[0] > 90
    np.testing.assert_allclose(found, found[0], atol=1e-3)


def test_padding_is_by_buckets():
    assert [bucket(n) for n in (1, 3, 4, 8, 9, 40, 129, 6144, 7000)] == [
        *(1, 3, 8, 8, 16, 48, 192, 6144, 7000)
    ]
    plan = PLANS["padded"]
    weights = padding.draw_weights(np.random.default_rng(0), plan)
    for step, old, new in zip(plan.steps, weights, padding.pad_plan(plan, weights), strict=True):
        assert set(old) == set(new)
        for name, array in old.items():
            np.testing.assert_array_equal(new[name][tuple(map(slice, array.shape))], array)
            assert np.count_nonzero(new[name]) == np.count_nonzero(array)
        added = bucket(step.layer.out_channels) - step.layer.out_channels
        if step.layer.kind not in ("linear", "pixelwise"):
            assert padding.padded_units(step) == added * np.prod(step.out_size)


def test_programs_are_kept_and_what_was_asked_for_longest_ago_dropped(monkeypatch):
    programs = Programs()
    monkeypatch.setattr("nasgen.networks.programs.MAX_PROGRAMS", 2)
    one, two, three = (Signature("relu", (2, size, 1, 1)) for size in (1, 2, 3))
    assert programs.compile([one, two, one]) == 2 and programs.compile([two, one]) == 0
    assert programs.compile([three]) == 1 and programs.num_compiled == 3
    assert one in programs and two not in programs and three in programs
    x = np.array([[-1, 2], [3, -4]], np.float32).reshape(2, 2, 1, 1)
    np.testing.assert_array_equal(programs.run("relu", (), x), np.maximum(x, 0))
    assert programs.num_compiled == 4 and programs.seconds_compile > 0


def test_programs_are_lowered_for_the_host_whatever_the_default_backend(monkeypatch):
    signature = Signature("depthwise", (2, 4, 4, 8), (3, 3, 1, 1, 0))
    for_cpu = lowered(signature).as_text()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert ops.uses_shifts() is False
    assert lowered(signature).as_text() == for_cpu and "convolution" not in for_cpu


def test_each_example_alone_is_a_batch_of_one():
    """Float64: the gradients that `each` keeps apart are those of walks over single examples. Of
    random sums of the features, since the logits of one example alone are constant here."""
    plan = PLANS["padded"]
    weights, images, _ = weights_and_images(plan)
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        padded = padding.pad_plan(plan, weights, dtype=np.float64)

        def gradients(rows, run):
            forward = walks.walk_forward(plan, padded, images[rows].astype(np.float64), run)
            seed = sums[rows][..., : forward.values[plan.features - 1].shape[-1]]
            back = walks.walk_backward(plan, padded, forward, seed, run, last=plan.features)
            return back.kernels

        sums = rng.standard_normal((BATCH, *plan.steps[plan.features - 1].out_size, 64))
        together = gradients(slice(None), walks.each(PROGRAMS.run))
        for example in range(BATCH):
            alone = gradients(slice(example, example + 1), PROGRAMS.run)
            pairs = [
                [padding.true_gradient(step.layer, np.asarray(g)) for g in (one, all_[example])]
                for step, one, all_ in zip(plan.steps, alone, together, strict=True)
                if one is not None
            ]
            largest = max(np.abs(one).max() for one, _ in pairs)
            assert len(pairs) > 5 and largest > 0
            for one, mine in pairs:
                np.testing.assert_allclose(mine, one, atol=1e-9 * largest)
