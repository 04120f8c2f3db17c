"""The pages of configs are what the configs say."""

from pathlib import Path

import pytest

from experiments import config_pages
from nasgen.pipeline import config as rules

ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_are_what_the_configs_give():
    for name, text in config_pages.pages(ROOT).items():
        assert (ROOT / name).read_text() == text, f"{name}: run `make results`"


def test_every_key_of_a_design_run_is_explained():
    default = config_pages.read(ROOT / config_pages.CONFIGS / "default.py")
    assert default.values.keys() == rules.DESIGN.keys()
    silent = [key for key in default.values if not default.comments.get(key)]
    assert not silent


def test_comments_belong_to_the_keys_they_stand_at():
    source = """
# What it is for.
config.task = ConfigDict(dict(size=8))
config.task.path = placeholder(str)  # yours
# Two lines
# above.
config.a, config.b = 1, 2

# No key follows.

train = config.train
train.steps = 3  # optimiser steps
config.model.update(width=4, depth=5)  # sizes
config.space = config.name = "mine"
"""
    assert config_pages.comments(source) == {
        "task": "What it is for.",
        "task.size": "",
        "task.path": "yours",
        "a": "Two lines above.",
        "b": "Two lines above.",
        "train.steps": "optimiser steps",
        "model.width": "sizes",
        "model.depth": "sizes",
        "space": "",
        "name": "",
    }


@pytest.mark.parametrize("argument", ["--chek", "x"])
def test_what_is_wrong_is_said(argument, capsys):
    assert config_pages.main(["config_pages.py", argument]) == 2
    assert "--check" in capsys.readouterr().err


def test_a_page_that_differs_is_told_and_written_again(tmp_path, capsys):
    folder = tmp_path / config_pages.CONFIGS
    folder.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (folder / "default.py").write_bytes((ROOT / config_pages.CONFIGS / "default.py").read_bytes())
    assert config_pages.main(["", "--check"], root=tmp_path) == 1
    assert config_pages.main([""], root=tmp_path) == 0
    assert config_pages.main(["", "--check"], root=tmp_path) == 0
    (tmp_path / config_pages.KEYS_PAGE).write_text("")
    capsys.readouterr()
    assert config_pages.main(["", "--check"], root=tmp_path) == 1
    assert capsys.readouterr().out.startswith(f"{config_pages.KEYS_PAGE} differs")
