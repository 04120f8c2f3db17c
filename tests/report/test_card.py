"""The model card and the pieces it shares with reports."""

import re

import numpy as np
import pytest

from nasgen.report import card, words
from nasgen.spaces.open import SPACE
from nasgen.types import (
    KINDS,
    METRICS,
    Architecture,
    Budget,
    Cell,
    Costs,
    MacroArchitecture,
    Stage,
    Task,
)

TASK = Task("digits", (8, 8, 1), 10)
ARCHITECTURE = Architecture(
    MacroArchitecture((Stage(0, 8, 1, 2),), 16), (Cell((1, 4), ((0, 1), (1, 2), (2, 3))),)
)
COSTS = Costs(29_000, 1_500_000, 9, 7, 123_456)


def _card(task: Task = TASK, **facts) -> str:
    return card.model_card(facts, architecture=ARCHITECTURE, space=SPACE, task=task, costs=COSTS)


def test_card_tells_what_is_known():
    text = _card(
        budget=Budget(params=30_000),
        test_accuracy=0.975,
        test_examples=360,
        seed=3,
        chosen="best of 4 finalists",
        training={"steps": 1500},
        limits=["Only upright digits."],
    )
    assert "97.5 % (95 % interval 95.3 to 98.7 %, 360 images)" in text
    assert re.search(r"Parameters \| 30,000 \| 29,000 \| 97 %", text)
    assert re.search(r"MACs .*\| no limit \| 1,500,000 \|  \|", text)
    assert "| Chosen | best of 4 finalists |" in text
    assert "| Seed | 3 |" in text and "| steps | 1500 |" in text
    assert "- Only upright digits." in text


def test_card_is_silent_about_what_is_not_known():
    text = _card()
    unknown = r"Test acc|Validation acc|Seed|## Training|None|nan|Latency|Wall time|not written"
    assert not re.search(unknown, text)
    assert "Designed and trained by nasgen." in text


def test_card_tells_times_and_where_they_hold():
    """Measured ones stand beside the prediction, whose bound they were asked to keep."""
    times = {"latency_ms_measured": 1.2345, "latency_ms_measured_32": 30.06}
    text = _card(**times, latency_device="a chip x 2", hours={"search": 0.25, "train": 1.5})
    assert "| Latency (ms, one image, on a chip x 2) | no limit | 1.23 measured |  |" in text
    assert (
        "| Latency (ms, 32 images at once, on a chip x 2) | no limit | 30.1 measured |  |" in text
    )
    assert "| Wall time | search 0.25 h, train 1.5 h, in all 1.75 h |" in text
    text = _card(**times, latency_ms_predicted=1.0, budget=Budget(latency_ms=2.0))
    row = "| Latency (ms, one image, on the device of the run) | 2 |"
    assert f"{row} 1 predicted, 1.23 measured | 50 % |" in text


def test_card_says_whose_network_it_is_and_why_a_file_is_absent():
    text = _card(origin="Found by others.", no_onnx="jax2onnx is not installed")
    assert "Found by others. It runs without nasgen" in text and "Designed" not in text
    assert "not written with the rest: jax2onnx is not installed." in text


TASKS = [
    Task("made", shape, num, kind, one.metric, one.loss)
    for kind, one in KINDS.items()
    for shape, num in (((8, 9, 1), 1), ((500, 2), 4))
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.kind}{task.input_shape}")
def test_every_kind_has_a_card_in_its_own_words(task):
    name, one = task.metric, METRICS[task.metric]
    figures = {f"test_{name}": 0.5, f"validation_{name}": 0.25, "test_examples": 100}
    if name != "accuracy":
        figures |= {f"test_{name}_low": 0.25, f"test_{name}_high": 0.75}
    times = {"latency_ms_measured": 1.0, "latency_ms_measured_32": 2.0}
    text = _card(task, **figures, **times)
    series, many = len(task.input_shape) == 2, words.examples(task)
    if name == "accuracy":
        reached = f"50.0 % (95 % interval 40.4 to 59.6 %, 100 {many})"
    elif one.fraction:
        reached = f"50.0 % (95 % interval 25.0 to 75.0 %, 100 {many})"
    else:
        reached = f"0.5 (95 % interval 0.25 to 0.75, 100 {many})"
    assert f"| Test {one.title} | {reached}" in text
    assert f"| Validation {one.title} | {'25.0 %' if one.fraction else '0.25'} |" in text
    assert ("lower is better" in text) == (not one.higher)
    assert ("probabilities were not calibrated" in text) == one.fraction
    assert ("accuracy" in text.lower()) == (name == "accuracy")
    elsewhere = text.replace("`images` float32", "")  # what the graph calls its input
    assert ("image" in elsewhere) == (not series)
    assert ("pillow" in text) == (not series) and ("500 moments, 2 channels" in text) == series
    assert ("3x3" in text or "pixels" in text) == (not series)
    assert f"{words.predictions(task)} = model.predict({many}, variables)" in text
    assert ("predictions.npy" in text) == task.is_dense
    assert "{" not in text and "None" not in text
    assert re.search(rf"made: {task.kind.replace('_', ' ')}, {task.num_classes} [a-z]+ \|", text)
    assert not re.search(r"\b1 (classes|labels|numbers)\b", text)


def test_the_words_of_the_terminal_know_the_metric():
    assert card.tested({"test_examples": 9, "test_accuracy": 0.975}) == "Test accuracy 97.5%"
    found = card.tested({"test_relative_l2_low": 0.01, "test_relative_l2": 0.0123456})
    assert found == "Test relative L2 error 0.01235"
    assert card.tested({"test_mean_iou": None}) == "Test mean IoU of classes undefined"


@pytest.mark.parametrize("ends", [(0.1, 0.2), (np.nan, np.nan)])
def test_what_is_not_defined_is_said(ends):
    task = Task("made", (8, 8, 1), 3, "segmentation", "mean_iou")
    figures = {"test_mean_iou": np.nan, "test_mean_iou_low": ends[0], "test_mean_iou_high": ends[1]}
    text = _card(task, **figures, test_examples=9)
    assert "| Test mean IoU of classes | undefined |" in text and "nan" not in text
    text = _card(task, **{**figures, "test_mean_iou": 0.15}, test_examples=9)
    assert ("| 15.0 % |" in text) == bool(np.isnan(ends[0])) and "nan" not in text


def test_figures_of_another_metric_are_refused():
    with pytest.raises(ValueError, match="got 'test_mean_iou'"):
        _card(test_mean_iou=0.5)


def test_cell_text_cannot_break_a_table():
    text = _card(training={"a|b\nc": "d|e"})
    (row,) = [line for line in text.splitlines() if "d\\|e" in line]
    assert row == r"| a\|b c | d\|e |"


def test_unknown_keys_are_refused():
    with pytest.raises(ValueError, match="must hold only .*; got 'acuracy'"):
        _card(acuracy=0.9)
