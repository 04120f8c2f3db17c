"""Whatever is typed: budgets and configs are taken, or refused in one line. Architectures:
`tests/spaces/test_formats.py`."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import run
from experiments.configs import default
from nasgen.pipeline import config as rules
from nasgen.pipeline.config import UserError
from nasgen.search.problem import check_bounds
from nasgen.types import Budget
from tests.experiments.test_run import ROOT, C

anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
anything |= st.lists(st.integers(), max_size=2) | st.complex_numbers()


@settings(max_examples=300, deadline=None)
@given(st.lists(anything, min_size=4, max_size=4))
def test_budgets(bounds):
    budget = Budget(*bounds)
    try:
        check_bounds(budget)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 200
    else:
        assert all(one is None or 0 < one < math.inf for one in bounds)


KEYS = sorted(rules.DESIGN)
typed = st.text(max_size=12) | st.integers().map(str) | st.floats().map(str)
typed |= st.sampled_from(
    ["None", "True", "()", "('a',)", "{}", "1e400", "-0", "../..", "\x00", "=="]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KEYS) | st.text(max_size=6), typed), max_size=3))
def test_command_lines(overrides):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        more = [f"--config.{key}={value}" for key, value in overrides]
        try:
            config, folder = run.parse(["run.py", C, "--workdir=any", *more])
            rules.validate(config, pipelines=run.PIPELINES)
        except UserError:
            return
        assert folder == "any" and set(rules.flat(config)) == set(KEYS)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KEYS), anything), min_size=1, max_size=3))
def test_configs(edits):
    config = default.get_config()
    for key, value in edits:
        group, _, name = key.rpartition(".")
        with (config[group] if group else config).ignore_type():
            (config[group] if group else config)[name] = value
    try:
        rules.validate(config, pipelines=run.PIPELINES)
    except UserError as error:
        assert len(str(error)) < 3000
