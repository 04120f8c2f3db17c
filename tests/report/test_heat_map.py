"""The heat map: every number in its cell, columns named and in groups."""

import numpy as np

from nasgen.report.heat_map import heat_map


def test_numbers_names_and_groups_are_drawn():
    values = np.array([[0.5, -0.25, np.nan], [1.0, 0.004, -1.0]])
    columns = [("A", "one"), ("A", "two"), ("B", "three")]
    figure = heat_map(values, ("first", "second"), columns, title="Title", label="signed")
    axes, bar = figure.axes
    drawn = [text.get_text() for text in axes.texts]
    minus = "\N{MINUS SIGN}"
    assert drawn == [".50", "1.00", f"{minus}.25", ".00", f"{minus}1.00", "A", "B"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["one", "two", "three"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["first", "second"]
    first, second, third = axes.get_xticks()
    assert third - second > second - first
    assert bar.get_ylabel() == "signed"
    meshes = axes.collections
    assert all(mesh.get_clim() == (-1, 1) for mesh in meshes)
    assert not meshes[0].cmap(0.5)[0] < 0.9  # white at zero


def test_zero_below_and_above_is_written_alike():
    figure = heat_map(np.array([[-0.001]]), ("p",), [("A", "x")], title="", label="")
    assert figure.axes[0].texts[0].get_text() == ".00"
