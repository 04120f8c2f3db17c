"""NaN in one candidate, and in the flow's solver: the search goes on. Of losses and weights:
`tests/training/test_fit.py`."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from nasgen.models import flow
from nasgen.pipeline.cell_generator import write_cells
from nasgen.pipeline.kept_search import found_to_json, kept_search
from nasgen.pipeline.workdir import open_workdir
from nasgen.pretrained.bundle import load_cells
from nasgen.search.methods import METHODS
from nasgen.spaces import SPACES
from tests.search import toy
from tests.search.test_methods import method

OPEN, EVALUATIONS = SPACES["open"], 11


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_candidate_without_a_number_is_marked_and_the_search_goes_on(tmp_path, name, value):
    problem, asked = toy.problem()

    def measure(architectures):
        parts = problem.measure(architectures)
        parts[[len(asked) in (3, 5)] * len(parts)] = value  # they come one by one
        return parts

    workdir = open_workdir(tmp_path / "run", ConfigDict({"seed": 0}))
    arguments = workdir, name, jax.random.key(0), method(name), problem._replace(measure=measure)
    state = kept_search(*arguments, EVALUATIONS, space=OPEN)
    found = found_to_json(state, problem, OPEN)
    assert state.evaluations == EVALUATIONS
    assert found["not_finite"] == {"2": f"score is {value}", "4": f"score is {value}"}
    assert (np.flatnonzero(found["scores"] == -np.inf) == [2, 4]).all()
    assert np.isfinite(found["scores"].max())


def test_latents_without_numbers_become_cells_that_keep_the_rules(monkeypatch):
    """What the solver could not carry is decoded into some cell, and judged by what it has."""
    bundle, solved = load_cells("nb201"), flow.sample

    def failing(*arguments, **options):
        return solved(*arguments, **options).at[::2].set(np.nan)

    monkeypatch.setattr(flow, "sample", failing)
    conditions = np.zeros((8, len(bundle.names)), np.float32)
    cells = write_cells(bundle, jax.random.key(0), conditions, candidates=2)
    assert len(cells.nodes) == 8 and SPACES["nb201"].is_valid(cells).all()
