"""Legends that lie on no curve, and scores by their names."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from nasgen.report import plots, tabular_plots

METHODS = "nasgen", "surrogate", "random", "evolution", "local_search", "hl_evo", "proxy_nwot"


def _regret(seconds=(1, 5)):
    rng = np.random.default_rng(0)
    return tabular_plots.regret(
        "a table",
        {
            name: {
                "regret": np.minimum.accumulate(rng.exponential(1, (3, 50)), 1) + 0.01,
                "hours": rng.uniform(*seconds, (3, 50)).cumsum(1),
            }
            for name in METHODS
        },
    )


def _pareto():
    rng = np.random.default_rng(0)
    names = "ours", "paper", "random"
    return plots.pareto_sets(
        {
            name: {k: rng.uniform(1e4, 1e6, 20) for k in ("scores", "params", "macs")}
            for name in names
        },
        score="t_cet",
    )


@pytest.mark.parametrize(("make", "num"), [(_regret, 6), (_pareto, 3)])
def test_a_legend_lies_beside_all_axes(make, num):
    figure = make()
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == num
    box = legend.get_window_extent()
    assert not any(box.overlaps(axes.get_tightbbox()) for axes in figure.axes)


def test_a_score_is_named_as_in_the_text():
    assert _pareto().axes[0].get_ylabel() == "T-CET"


def test_hours_are_drawn_where_trainings_differ():
    assert len(_regret().axes) == 2
    assert len(_regret(seconds=(1, 1)).axes) == 1
