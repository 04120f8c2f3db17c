"""A page from a template: how figures, intervals and tables are written, and what is refused."""

import re

import pytest

from nasgen.report.kept_results import flat
from nasgen.report.results_page import circumstances, render
from nasgen.statistics import wilson_interval

ENV = {
    "git_revision": "a66c573ea6819ad32b49770dd414053faf3b0260",
    "cpu_count": 1,
    "backend": "cpu",
    "device_kind": "cpu",
    "device_count": 1,
    "packages": {"jax": "0.10.2"},
}
RUN = flat(
    {
        "params": 29842,
        "share": 0.99257,
        "share/interval": [0.98857, 0.99656],
        "share/all": [0.991643, 0.994428],
        "rho": -0.5045,
        "rho_low": -0.594,
        "rho_high": -0.391,
        "ours/at/8/mean": 76616.4,
        "ours/at/8/low": 69528.3,
        "ours/at/8/high": 78528.2,
        "theirs/at/8/mean": 22748.0,
        "theirs/at/8/low": 18725.0,
        "theirs/at/8/high": 27627.0,
        "theirs/at/50/mean": 29056.0,
        "test_accuracy": 0.5975,
        "test_examples": 800,
        "times": {"native": 0.1308, "chosen": 3565.3},
        "seconds_total": 1510.4,
        "kind": "JPEG",
        "config": {"budget": {"macs": 10_000_000}},
        "env": ENV,
    }
)


def _render(template: str) -> str:
    return render(template, {"run": RUN, "other": {"env": ENV}})


@pytest.mark.parametrize(
    ("placeholder", "text"),
    [
        ("run: params", "29,842"),
        ("run: params | .0f", "29842"),
        ("run: share | .1%", "99.3 %"),
        ("run: share/interval | .1%", "98.9 to 99.7 %"),
        ("run: share/all | .1%", "99.2, 99.4 %"),
        ("run: share (interval) | .1%", "99.3 % (98.9 to 99.7)"),
        ("run: share{,/interval} | .1f *100", "99.3 | 98.9 to 99.7"),
        ("run: rho (interval) | .2r", "-.50 (-.59 to -.39)"),
        ("run: rho | .2r *-1", ".50"),
        ("run: ours/at/8/mean (interval) | ,.0f", "76,616 (69,528 to 78,528)"),
        (
            "run: theirs/at/{8,50}/mean (interval?) | ,.0f",
            "22,748 (18,725 to 27,627) | 29,056",
        ),
        ("run: {ours,theirs}/at/{8,50}/mean? | ,.0f", "76,616 |  | 22,748 | 29,056"),
        ("run: times | .2s", "0.13 / 3,565"),
        ("run: times/native | .2s *10", "1.3"),
        ("run: seconds_total | .1f /60", "25.2"),
        ("run: config/budget/macs | .0f *1e-6", "10"),
        ("run: kind", "JPEG"),
    ],
)
def test_a_figure_is_written_as_it_is_asked(placeholder, text):
    assert _render(f"before {{{{{placeholder}}}}} after") == f"before {text} after"


def test_an_accuracy_of_so_many_examples_has_an_interval_of_itself():
    low, high = wilson_interval(0.5975, 800)
    text = _render("{{run: test_accuracy (interval) | .6f}}")
    assert text == f"0.597500 ({low:.6f} to {high:.6f})"


def test_a_row_for_each_name():
    template = """| | after 8 |
| --- | ---: |
{{each
ours: ours: the whole method
theirs
}}
| NAME | {{run: KEY/at/8/mean | ,.0f}} |

After it."""
    assert _render(template).splitlines() == [
        "| | after 8 |",
        "| --- | ---: |",
        "| ours: the whole method | 76,616 |",
        "| theirs | 22,748 |",
        "",
        "After it.",
    ]


def test_where_runs_were_made_in_a_line():
    assert _render("*{{run}}.*") == "*commit a66c573, 1 CPU core, jax 0.10.2, 25 minutes.*"
    again = {**ENV, "git_revision": "605a8382d0904+changes", "cpu_count": 2}
    resumed = {"env": {**ENV, "resumed": [again]}, "seconds_total/all": [3600.0, 5400.0]}
    line = "commits a66c573, 605a838+changes, 1 to 2 CPU cores, jax 0.10.2, 2.5 hours"
    assert circumstances(resumed) == line
    assert render("{{a, b}}", {"a": RUN, "b": resumed}).endswith("jax 0.10.2, 2.9 hours")
    card = {"env": {"backend": "cpu", "cpu_count": 2, "packages": {"jax": "0.10.2"}}}
    assert circumstances(card) == "2 CPU cores, jax 0.10.2"
    fast = {**ENV, "backend": "gpu", "device_kind": "NVIDIA H100", "device_count": 4}
    assert circumstances({"env": fast}) == "commit a66c573, 4 NVIDIA H100, jax 0.10.2"


@pytest.mark.parametrize(
    ("placeholder", "message"),
    [
        ("runn: share", "`runn` is no run; the nearest is `run`."),
        ("run, runn", "`runn` is no run; the nearest is `run`."),
        ("run: shar", "the run has no figure `shar`; the nearest is `share`."),
        ("run: {share,shar}/all | .1%", "no figure `shar/all`; the nearest is `share/all`."),
        ("run: theirs/at/50/mean (interval)", "`theirs/at/50/mean` has no interval;"),
        ("run: share | 1 digit", "the format must be as `,.0f`, `.1%`, `.2r` or `.1f /60`; got"),
        ("run: share | .1q", "got '.1q'."),
        ("run: params | .1d", "Precision not allowed"),
        ("run, other: share", "a figure must be of one run."),
    ],
)
def test_what_no_run_has_and_wrong_formats_are_one_line(placeholder, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        _render(f"{{{{{placeholder}}}}}")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"`{{{{{placeholder}}}}}`: ")


@pytest.mark.parametrize("template", ["a {{run: share} b\n", "{{each\nours\n| {{run}} |\n"])
def test_a_placeholder_ends_in_its_line(template):
    with pytest.raises(ValueError, match="must end with"):
        _render(template)
