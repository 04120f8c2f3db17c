"""`nasgen.score`, as a user calls it."""

import subprocess
import sys
from functools import cache

import jax
import numpy as np
import pytest

import nasgen
from nasgen import data, scoring
from nasgen.networks.costs import count
from nasgen.networks.plans import PLANS
from nasgen.proxies import PROXIES, Ensemble, Proxy
from nasgen.spaces import SPACES, graphs, nb201
from nasgen.types import Architecture, Cell, MacroArchitecture, Stage, Task

KEY = jax.random.key(0)
SMALL = Task("small", (8, 8, 3), 4)


def architectures(num: int) -> list[Architecture]:
    cells = graphs.unpack(SPACES["open"].sample(KEY, num))
    macro = MacroArchitecture((Stage(0, 8, 2, 1),), 16)
    return [Architecture(macro, (cell,)) for cell in cells]


@cache
def digits() -> data.task.Dataset:
    return data.load("digits", seed=0)


def widest(passes) -> float:
    return max(np.abs(passes.gradients[0]).flat)


def test_scores_of_real_digits():
    names = ("snip", "t_cet", "params")
    scores = nasgen.score(architectures(3), names, "digits", KEY, batch=16)
    assert set(scores.values) == {"snip", "t_cet", "params"} and not scores.reasons
    assert all(len(values) == 3 and (values > 0).all() for values in scores.values.values())
    mine = PROXIES | {"widest": Proxy(("gradients",), widest), "bare": widest}
    few = {name: mine[name] for name in ("snip", "widest", "bare")}
    again = nasgen.score(architectures(3), few, digits(), KEY, batch=16)
    np.testing.assert_array_equal(again.values["snip"], scores.values["snip"])
    assert (again.values["widest"] > 0).all()
    np.testing.assert_array_equal(again.values["bare"], again.values["widest"])


def test_tabular_cells_come_in_any_form_and_with_any_task():
    batch = SPACES["nb201"].sample(KEY, 3)
    cells = graphs.unpack(batch)
    counts = [count(PLANS["nb201"](cell, SMALL)) for cell in cells]
    rng = np.random.default_rng(0)
    pair = rng.normal(size=(6, 8, 8, 3)), np.arange(6) % 4
    options = dict(space="nb201", batch=4)
    for some in (cells, batch, [PLANS["nb201"](cell, SMALL) for cell in cells]):
        for task in (SMALL, pair):
            scores = nasgen.score(some, ("params", "macs"), task, KEY, **options)
            assert scores.values["params"].tolist() == [one.params for one in counts]
            assert scores.values["macs"].tolist() == [one.macs for one in counts]
    assert nasgen.score([], {"bare": widest}, SMALL, KEY, **options).values["bare"].shape == (0,)


def test_a_pair_is_the_batch_itself_and_a_task_alone_has_natural_images():
    images = np.random.default_rng(0).normal(size=(6, 8, 8, 3))
    task, batch = scoring.batch_of((images, np.arange(6) % 4), KEY, 64)
    assert (task.input_shape, task.num_classes) == ((8, 8, 3), 4)
    np.testing.assert_array_equal(batch.x, images.astype(np.float32))
    task, (x, y) = scoring.batch_of(SMALL, KEY, 5)
    assert task == SMALL and x.shape == (5, 8, 8, 3) and set(y) <= set(range(4))
    task, (x, y) = scoring.batch_of(digits(), KEY, 5)
    train = {image.tobytes() for image in digits().train.x}
    assert task == digits().task and all(image.tobytes() in train for image in x)


def test_importing_nasgen_alone_imports_no_jax():
    code = "import nasgen, sys; assert 'jax' not in sys.modules; nasgen.score"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "opne"}, "`space` must be one of.*; did you mean `open`"),
        ({"proxies": ("snpi",)}, "`proxies` must be among.*; did you mean `snip`"),
        ({"proxies": ("NWOT",)}, "`proxies` must be among.*; did you mean `nwot`"),
        ({"proxies": ()}, "`proxies` must name at least one"),
        ({"proxies": {"x": Ensemble(("macz",), np.sum)}}, "among.*; did you mean `macs`"),
        ({"task": "digit"}, "`task` must be one of.*Did you mean 'digits'"),
        ({"task": "npz"}, "`task` must be a data set.*nasgen.data.load"),
        ({"batch": 10**6}, "`batch` must be in 2\\.\\."),
        ({"batch": 1}, "`batch` must be a whole number of at least 2"),
    ],
)
def test_bad_requests(change, message):
    request = dict(proxies=("params",), task="digits", key=KEY) | change
    with pytest.raises(ValueError, match=message) as error:
        nasgen.score(architectures(1), **request)
    assert "\n" not in str(error.value)


OPEN_CELL, NB201_CELL = architectures(1)[0].cells[0], nb201.cell((1,) * 6)


@pytest.mark.parametrize(
    ("some", "space", "message"),
    [
        ([OPEN_CELL], "open", "number 0 is Cell.*: of a cell, `space` names nb101, nb201"),
        (architectures(1), "nb201", "must be Cells or plans.*an Architecture is of space 'open'"),
        ([NB201_CELL, OPEN_CELL], "nb201", "cells of space nb201; number 1 has Cell"),
        ([Cell((0,) * 9, ((0, 1),))], "nb101", "cells of space nb101; number 0 has Cell"),
        ([nb201.to_string(NB201_CELL)], "nb201", "must be Cells or plans; number 0 is '"),
        (NB201_CELL, "nb201", "`architectures` must be a list"),
        ([architectures(1)[0]._replace(cells=())], "open", "a cell for each stage; number 0 has 0"),
    ],
)
def test_architectures_of_another_kind(some, space, message):
    with pytest.raises(ValueError, match=message) as error:
        scoring.plans_of(some, space, SMALL)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (None, "`task` must be a data set, the name of one, a Task or .*; got None"),
        ((np.zeros((4, 8, 8)), np.zeros(4, int)), "`task` must be two or more images"),
        ((np.zeros((4, 8, 8, 1)), np.zeros(3, int)), "label of each; got shapes"),
        ((np.zeros((4, 8, 8, 1)), np.zeros(4)), "a whole-number label of each; .*float64"),
        ((np.zeros((1, 8, 8, 1)), np.zeros(1, int)), "`task` must be two or more images"),
    ],
)
def test_tasks_of_another_kind(task, message):
    with pytest.raises(ValueError, match=message):
        scoring.batch_of(task, KEY, 4)


def test_proxies_of_another_kind():
    with pytest.raises(ValueError, match="`proxies\\['x'\\]` must be a Proxy, an Ensemble or a fu"):
        scoring.named({"x": 3})
