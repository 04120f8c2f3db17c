"""The search problem of a task: its fitness, its images, the macro architecture it starts from."""

import jax
import numpy as np
import pytest

from nasgen import data
from nasgen.networks.plans.open import make_plan
from nasgen.pipeline.examples import examples_of
from nasgen.pipeline.problems import four_stages, make_fitness
from nasgen.proxies.engine import score
from nasgen.scoring import named
from nasgen.spaces import SPACES
from nasgen.spaces.macro import broken_rules
from nasgen.types import Task
from tests.search import toy
from tests.training.test_supervised import made

KEY, TASK = jax.random.key(0), Task("any", (8, 8, 3), 4)


@pytest.mark.parametrize(("size", "strides"), [(32, "2222"), (8, "2221"), (3, "2211"), (1, "1111")])
def test_four_stages_halve_while_there_are_pixels(size, strides):
    macro = four_stages(size)
    assert "".join(str(stage.stride) for stage in macro.stages) == strides
    assert [stage.channels for stage in macro.stages] == [8, 16, 32, 64]
    assert macro.final_width == 128 and {stage.repeats for stage in macro.stages} == {1}
    assert broken_rules(macro, num_clusters=32, size=size) == []


def test_an_ensemble_is_combined_over_all_that_was_measured():
    """In two steps the same as at once."""
    networks = [one for one in toy.problem()[0].sample(KEY, 40) if len(one.cells) <= 2][:4]
    batch = examples_of(KEY, TASK, 4)
    fitness = make_fitness(KEY, "az_nas", TASK, batch, space="open")
    parts = np.concatenate([fitness.measure(networks[:3]), fitness.measure(networks[3:])])
    assert parts.shape == (4, len(fitness.names)) and "macs" in fitness.names
    plans = [make_plan(one, SPACES["open"].ops, TASK) for one in networks]
    once = score(plans, named("az_nas"), KEY, *batch).values["az_nas"]
    np.testing.assert_array_equal(fitness.combine(parts), once)


def test_a_function_is_a_fitness():
    batch, networks = examples_of(KEY, TASK, 2), toy.problem()[0].sample(KEY, 3)
    fitness = make_fitness(KEY, lambda some: np.arange(len(some)), TASK, batch, space="open")
    assert fitness.combine(fitness.measure(networks)).tolist() == [0, 1, 2]


def test_images_are_the_tasks_own_or_natural():
    images, labels = examples_of(KEY, TASK, 5)
    assert images.shape == (5, 8, 8, 3) and set(labels) <= set(range(4))
    digits = data.load("digits", seed=0)
    images, labels = examples_of(KEY, digits, 5)
    for image, label in zip(images, labels, strict=True):
        places = np.flatnonzero((digits.train.x == image[None]).all((1, 2, 3)))
        assert label in digits.train.y[places]
    with pytest.raises(ValueError, match="`batch` must be in 2..1079"):
        examples_of(KEY, digits, 2_000)
    with pytest.raises(ValueError, match="`fitness` must be one of"):
        make_fitness(KEY, "tcet", TASK, examples_of(KEY, TASK, 2), space="open")


def test_numbers_to_predict_are_standardised_as_a_training_learns_them():
    source = made("regression", 2)
    x, y = examples_of(KEY, source, 64)
    whole = source.train.y
    found = y * whole.std(0) + whole.mean(0)
    for example, target in zip(x, found, strict=True):
        place = np.flatnonzero((source.train.x == example[None]).all((1, 2, 3)))[0]
        np.testing.assert_allclose(target, whole[place], rtol=1e-4)
    assert abs(y.mean()) < 0.5 and abs(whole.mean()) > 100
