"""Networks of the tabular spaces: costs against the published tables, values against the plain
recursion over a cell's vertices."""

import ast
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax import lax

from nasgen.networks import costs, ops
from nasgen.networks.network import Network, init_network
from nasgen.networks.plan import Layer, Plan, Step
from nasgen.networks.plans import PLANS, nb101, nb201, transnas
from nasgen.spaces import SPACES, graphs
from nasgen.spaces import nb101 as nb101_space
from nasgen.spaces import nb201 as nb201_space
from nasgen.spaces import transnas as transnas_space
from nasgen.types import Cell, Op, Task

CIFAR10 = Task("cifar10", (32, 32, 3), 10)
CIFAR100 = Task("cifar100", (32, 32, 3), 100)
IMAGENET16 = Task("ImageNet16-120", (16, 16, 3), 120)
SMALL = Task("small", (8, 8, 3), 5)
TABULAR = {
    "nb101": functools.partial(nb101.make_plan, channels=6, cells=2),
    "nb201": functools.partial(nb201.make_plan, channels=4, cells=2),
    "transnas_micro": functools.partial(transnas.make_plan, channels=4, modules="41"),
}


def sample(name: str, num: int, seed: int = 0) -> list[Cell]:
    return graphs.unpack(SPACES[name].sample(jax.random.key(seed), num))


# ---- published costs ----------------------------------------------------------------------------


@functools.cache
def layer_costs(layer: Layer, in_size: tuple[int, int], out_size: tuple[int, int]):
    return costs.count(Plan((Step("", layer, (0,), in_size, out_size),), (1, 1, 1), 1, ()))


def total_costs(plan: Plan) -> tuple[int, int]:
    """Params and MACs, as `costs.count` adds them up, but each kind of layer counted only once."""
    parts = [layer_costs(s.layer, s.in_size, s.out_size) for s in plan.steps]
    return sum(part.params for part in parts), sum(part.macs for part in parts)


def assert_costs_are_published(table: pd.DataFrame, task: Task, suffix: str):
    """The table's parameters and MACs, in millions, are exact to the last digit."""
    cells = [nb201_space.cell([int(digit) for digit in row]) for row in table.ops]
    totals = [total_costs(nb201.make_plan(cell, task)) for cell in cells]
    published = table[[f"params_m_{suffix}", f"flops_m_{suffix}"]].to_numpy() * 1e6
    np.testing.assert_allclose(published, np.rint(published), rtol=0, atol=1e-3)
    np.testing.assert_array_equal(totals, np.rint(published))


@pytest.fixture(scope="module")
def nb201_table(shared_data):
    return pd.read_parquet(shared_data / "nb201.parquet")


@pytest.mark.parametrize("task", [CIFAR10, CIFAR100, IMAGENET16], ids=lambda task: task.name)
def test_nb201_costs(nb201_table, task):
    table = nb201_table.sample(250, random_state=0)
    assert_costs_are_published(table, task, "in16" if task == IMAGENET16 else task.name)


@pytest.mark.slow
def test_nb201_costs_of_all_cells(nb201_table):
    assert len(nb201_table) == 15_625
    assert_costs_are_published(nb201_table, CIFAR10, "cifar10")


@pytest.mark.slow
def test_nb101_params(shared_data):
    table = pd.read_parquet(shared_data / "nb101.parquet")
    rows = pd.concat([table[table.n <= 4], table.sample(2000, random_state=1)])
    for row in rows.itertuples():
        cell = nb101_cell(row.n, row.adj_bits, [int(c) for c in row.ops])
        assert total_costs(nb101.make_plan(cell, CIFAR10))[0] == row.params


def nb101_cell(num: int, bits: int, op_codes: list[int]) -> Cell:
    matrix = np.zeros((num, num), int)
    for x, y in zip(*np.triu_indices(num, 1), strict=True):
        matrix[x, y] = bits >> (x + y * (y - 1) // 2) & 1
    return nb101_space.cell_from_matrix(matrix, op_codes)


@pytest.fixture(scope="module")
def zero_cost_table(shared_data):
    return pd.read_parquet(shared_data / "nbsuitezero_naslib_subset.parquet")


def other_operations(plan: Plan) -> int:
    """What the published FLOPs count besides multiply-adds: two for each number that a batch norm
    puts out, one for each that enters a ReLU, a window's size for each that a pooling puts out."""
    total = 0
    for layer, size in ((step.layer, step.out_size) for step in plan.steps):
        numbers = math.prod(size) * layer.out_channels
        total += numbers * 2 * (layer.norm != "none")
        total += numbers * layer.kernel**2 * (layer.kind in ("avg_pool", "max_pool"))
    return total + sum(
        math.prod(step.in_size) * step.layer.in_channels for step in plan.steps if step.layer.relu
    )


def assert_zero_cost_table(plan: Plan, row, extra: int):
    params, macs = total_costs(plan)
    assert params == round(row.params * 1e6)
    assert macs + other_operations(plan) + extra == pytest.approx(row.flops * 1e6, abs=1)


def test_nb101_params_and_macs_as_published_by_naslib(zero_cost_table):
    rows = zero_cost_table[zero_cost_table.benchmark == "nasbench101"]
    for row in rows[:150].itertuples():
        code = np.array(ast.literal_eval(row.arch))
        num = list(code[49:]).index(1) + 1  # ops: 0 input, 1 output, 2 pool, 3 1x1, 4 3x3
        matrix = code[:49].reshape(7, 7)[:num, :num]
        cell = nb101_space.cell_from_matrix(matrix, [4 - int(c) for c in code[50 : 48 + num]])
        assert_zero_cost_table(nb101.make_plan(cell, CIFAR10), row, 0)


@pytest.mark.parametrize(("name", "num_classes"), [("class_scene", 63), ("class_object", 100)])
def test_transnas_params_and_macs_as_published_by_naslib(zero_cost_table, name, num_classes):
    rows = zero_cost_table[zero_cost_table.task == name]
    assert len(rows) == 711
    for row in rows[:300].itertuples():
        cell = transnas_space.cell(ast.literal_eval(row.arch))
        plan = transnas.make_plan(cell, Task(name, (256, 256, 3), num_classes))
        # NASLib counts the last average over 8x8 pixels as one over 9x9 of 512 channels.
        assert_zero_cost_table(plan, row, 9 * 9 * 512)


# ---- the networks -------------------------------------------------------------------------------


def test_every_space_has_plans():
    assert PLANS.keys() == SPACES.keys()
    for name in TABULAR:
        (cell,) = sample(name, 1)
        assert PLANS[name](cell, CIFAR10).num_classes == 10


@pytest.mark.parametrize("name", TABULAR)
def test_flax_has_the_params_that_are_counted(name):
    for cell in sample(name, 4):
        plan = TABULAR[name](cell, SMALL)
        assert total_costs(plan) == (costs.count(plan).params, costs.count(plan).macs)
        linen = jax.eval_shape(Network(plan).init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
        sizes = [math.prod(leaf.shape) for leaf in jax.tree.leaves(linen["params"])]
        assert costs.count(plan).params == sum(sizes)


@pytest.mark.parametrize("name", TABULAR)
def test_blocks_are_distinct_and_of_their_widths(name):
    for cell in [*BY_HAND[name], *sample(name, 30)]:
        plan = TABULAR[name](cell, SMALL)
        assert len(set(plan.blocks)) == len(plan.blocks)
        assert list(plan.blocks) == sorted(plan.blocks)
        names = [step.name for step in plan.steps]
        assert len(set(names)) == len(names)
        for value, step in enumerate(plan.steps, start=1):
            assert all(source < value for source in step.inputs)
            for source in step.inputs:
                if source:
                    before = plan.steps[source - 1]
                    assert before.layer.out_channels == step.layer.in_channels
                    assert before.out_size == step.in_size


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(0), (2, 8, 8, 3))


def random_variables(plan: Plan):
    """Weights and running statistics none of which has a value that hides a mistake."""
    variables = init_network(jax.random.key(1), plan)
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    noise = [jax.random.uniform(key, x.shape) for key, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, [x + n for x, n in zip(leaves, noise, strict=True)])


class Layers:
    """Layers by name, written with XLA's own operations."""

    def __init__(self, variables):
        self.params, self.stats = variables["params"], variables["batch_stats"]

    def conv(self, name: str, x, stride: int = 1):
        kernel = self.params[name]["kernel"]
        pad = [(kernel.shape[0] // 2,) * 2] * 2
        dims = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (stride,) * 2, pad, dimension_numbers=dims)

    def norm(self, name: str, x):
        params, stats = self.params[name], self.stats[name]
        wide = lambda v: v.reshape(1, 1, 1, -1)  # noqa: E731
        x = (x - wide(stats["mean"])) / jnp.sqrt(wide(stats["variance"]) + ops.EPSILON)
        return x * wide(params["scale"]) + wide(params["shift"])

    def conv_norm(self, name: str, x, stride: int = 1):
        return self.norm(name, self.conv(name, x, stride))

    def classify(self, x):
        weights = self.params["classifier"]
        return x.mean((1, 2)) @ weights["kernel"] + weights["bias"].reshape(1, -1)


def over_vertices(x, digits, apply_op):
    """Vertex j is the sum over all i < j of edge i -> j applied to vertex i."""
    edges = list(zip(digits, ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)), strict=True))
    vertices = [x]
    for vertex in (1, 2, 3):
        terms = [
            apply_op(node, digit, vertices[i], i == 0)
            for node, (digit, (i, j)) in enumerate(edges, start=1)
            if j == vertex
        ]
        vertices.append(sum(terms[1:], terms[0]))
    return vertices[3]


def nb201_logits(layers: Layers, digits, x):
    x = layers.conv_norm("stem", x)
    for group in range(3):
        if group:
            main = layers.conv_norm(f"reduction{group}_conv_a", jax.nn.relu(x), 2)
            main = layers.conv_norm(f"reduction{group}_conv_b", jax.nn.relu(main))
            short = x.reshape(2, x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).mean((2, 4))
            x = main + layers.conv(f"reduction{group}_shortcut", short)

        for repeat in range(2):

            def apply_op(node, digit, x, _, prefix=f"stage{group}_cell{repeat}"):
                if digit == 0:
                    return 0 * x
                if digit == 1:
                    return x
                if digit == 4:
                    return ops.average_pool(x, kernel=3)
                return layers.conv_norm(f"{prefix}_node{node}_conv", jax.nn.relu(x))

            x = over_vertices(x, digits, apply_op)
    return layers.classify(jax.nn.relu(layers.norm("head_norm", x)))


def transnas_logits(layers: Layers, digits, x):
    x = layers.conv_norm("stem_a", x, 2)
    x = layers.conv_norm("stem_b", jax.nn.relu(x), 2)
    for module, repeat in itertools.product(range(2), range(2)):
        reduces = (module, repeat) == (0, 0)

        def apply_op(node, digit, x, first, reduces=reduces, cell=f"stage{module}_cell{repeat}"):
            name, stride = f"{cell}_node{node}", 2 if first and reduces else 1
            if digit == 0:
                return jnp.zeros((2, 1, 1, 8))
            if digit == 1 and stride == 2:
                active = jax.nn.relu(x)
                moved = jnp.pad(active, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, 1:, 1:]
                halves = (
                    layers.conv(f"{name}_conv_a", active, 2),
                    layers.conv(f"{name}_conv_b", moved, 2),
                )
                return layers.norm(f"{name}_norm", jnp.concatenate(halves, -1))
            if digit == 1:
                return x
            return layers.conv_norm(f"{name}_conv", jax.nn.relu(x), stride)

        x = over_vertices(x, digits, apply_op)
    return layers.classify(x)


def nb101_logits(layers: Layers, cell: Cell, x):
    def conv(name, x):
        return jax.nn.relu(layers.conv_norm(name, x))

    x, output = conv("stem", x), len(cell.ops) + 1
    for stack in range(3):
        x = x.reshape(2, x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4)) if stack else x
        widths = [0, *nb101.node_channels(cell, 6 * 2**stack)]
        for repeat in range(2):
            name, values = f"stage{stack}_cell{repeat}", [x]
            for node, op in enumerate(cell.ops, start=1):
                parents = [p for p, child in cell.edges if child == node]
                total = sum(values[p][..., : widths[node]] for p in parents if p)
                total = total + (conv(f"{name}_node{node}_proj", x) if 0 in parents else 0)
                pooled = nb101_space.OPS[op] == Op("max_pool", 3)
                values.append(
                    lax.reduce_window(total, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
                    if pooled
                    else conv(f"{name}_node{node}_conv", total)
                )
            feeding = [p for p, child in cell.edges if child == output]
            parts = [values[p] for p in feeding if p]
            y = jnp.concatenate(parts, -1) if parts else 0
            x = y + (conv(f"{name}_proj", x) if 0 in feeding else 0)
    return layers.classify(x)


REFERENCES = {"nb101": nb101_logits, "nb201": nb201_logits, "transnas_micro": transnas_logits}
BY_HAND = {
    "nb101": [Cell((), ((0, 1),))],
    "nb201": [
        nb201_space.cell(d) for d in [(0,) * 6, (1,) * 6, (0, 0, 3, 0, 0, 4), (1, 0, 1, 0, 0, 1)]
    ],
    "transnas_micro": [transnas_space.cell(d) for d in [(0,) * 6, (1,) * 6, (0, 0, 3, 0, 2, 2)]],
}


@pytest.mark.parametrize("name", TABULAR)
def test_logits_are_those_of_the_recursion_over_vertices(name, images):
    for cell in [*BY_HAND[name], *sample(name, 5, seed=3)]:
        plan = TABULAR[name](cell, SMALL)
        variables = random_variables(plan)
        logits = Network(plan).apply(variables, images)
        code = cell if name == "nb101" else cell.ops
        expected = REFERENCES[name](Layers(variables), code, images)
        assert logits.shape == (2, 5)
        np.testing.assert_allclose(logits, expected, rtol=2e-4, atol=1e-4)


def test_ops_that_nobody_reads_stay():
    # Edge 0->1 is a convolution, but nothing leaves vertex 1.
    cell = nb201_space.cell((3, 0, 0, 1, 0, 0))
    plan = nb201.make_plan(cell, CIFAR10)
    idle = nb201.make_plan(nb201_space.cell((0, 0, 0, 1, 0, 0)), CIFAR10)
    extra = sum(5 * (9 * width**2 + 2 * width) for width in (16, 32, 64))
    assert costs.count(plan).params == costs.count(idle).params + extra


def test_nb101_channels_by_hand():
    # Official `compute_vertex_channels`: 128 over three nodes is 43, 43, 42; node 1 feeds both 43s.
    edges = ((0, 1), (1, 2), (1, 3), (0, 4), (2, 5), (3, 5), (4, 5))
    assert nb101.node_channels(Cell((0,) * 4, edges), 128) == [43, 43, 43, 42]
    chain = ((0, 1), (1, 2), (2, 3))
    assert nb101.node_channels(Cell((0, 0), chain), 7) == [7, 7]
