"""Times of layers: one for each, of walks that compile nothing a second time."""

import time

import numpy as np

from nasgen.networks.layer_times import can_time, layer_times
from nasgen.networks.plans.open import make_plan
from nasgen.networks.programs import Programs
from nasgen.spaces.open import OPS
from nasgen.types import Architecture, Cell, MacroArchitecture, Stage, Task

NETWORK = Architecture(
    MacroArchitecture((Stage(0, 8, 2, 1),), 16), (Cell((4,), ((0, 1), (0, 2), (1, 2))),)
)
TASK = Task("toy", (32, 32, 1), 3)


class SlowMean(Programs):
    """Makes the mean over pixels slow, which the classifier alone takes."""

    def run(self, name, constants, *arrays):
        time.sleep(0.05 if name == "pixel_mean" else 0.0)
        return super().run(name, constants, *arrays)


def test_every_layer_has_a_time_and_nothing_is_compiled_twice():
    plan, programs = make_plan(NETWORK, OPS, TASK), Programs()
    times = layer_times(plan, batch=4, programs=programs)
    compiled = programs.num_compiled
    again = layer_times(plan, batch=4, seconds=0.1, programs=programs)
    assert times.shape == again.shape == (len(plan.steps),)
    assert (times >= 0).all() and times.sum() > 0 and programs.num_compiled == compiled


def test_time_counts_for_the_layer_that_takes_it():
    plan = make_plan(NETWORK, OPS, TASK)
    times = layer_times(plan, batch=2, seconds=0.0, programs=SlowMean())
    assert plan.steps[int(np.argmax(times))].name == "classifier" and times.max() >= 50


def test_networks_with_layers_that_no_walk_knows_are_not_timed():
    assert can_time(make_plan(NETWORK, OPS, TASK))
    excited = NETWORK._replace(cells=(Cell((12,), ((0, 1), (0, 2), (1, 2))),), excitation=0.25)
    assert not can_time(make_plan(excited, OPS, TASK))
