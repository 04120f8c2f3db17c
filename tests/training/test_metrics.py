"""Rows survive NaN, interruption and resumption."""

import json

import numpy as np
import pytest

from nasgen.training import metrics


def test_rows_come_back_as_plain_numbers(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics.append(path, {"step": 1, "loss": np.float32(0.5), "by": {"a": np.arange(2)}})
    metrics.append(path, {"step": 2, "loss": float("nan"), "by": [np.inf, 1.0]})
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    assert metrics.read(path) == [
        {"step": 1, "loss": 0.5, "by": {"a": [0, 1]}},
        {"step": 2, "loss": None, "by": [None, 1.0]},
    ]


def test_each_row_is_there_at_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in range(3):
        metrics.append(path, {"step": step})
        assert len(metrics.read(path)) == step + 1


@pytest.mark.parametrize("kept_bytes", [1, 7, len('{"step": 3}')])
def test_torn_last_line_is_left_out(tmp_path, kept_bytes):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n' + '{"step": 3}'[:kept_bytes])
    assert [row["step"] for row in metrics.read(path)] == [1, 2]
    metrics.drop_after(path, 2)
    metrics.append(path, {"step": 3})
    assert [row["step"] for row in metrics.read(path)] == [1, 2, 3]


def test_broken_line_inside_is_an_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"ste\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2"):
        metrics.read(path)


def test_drop_after(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert metrics.drop_after(path, 5) == [] and not path.exists()
    for step in (5, 10, 10, 15):
        metrics.append(path, {"step": step})
    assert [row["step"] for row in metrics.drop_after(path, 10)] == [5, 10, 10]
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [5, 10, 10]
