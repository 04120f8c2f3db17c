"""The picture of the benchmark by real training."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from nasgen.report import style


def accuracies(values: Mapping[str, Sequence[Sequence[float]]], *, marked: str) -> Figure:
    """Every training as a dot, the mean of a method as a bar; trainings of one network lie on a
    line of their own.

    values: of each method by its title the accuracies, 0..1, `[seeds][trainings]`. marked: the
    method in colour."""
    figure, (axes,) = style.figure(0.9 + 0.34 * len(values))
    for row, (name, seeds) in enumerate(values.items()):
        look = {"color": style.BLUE if name == marked else style.GREY, "s": 16, "linewidths": 0}
        for seed, found in enumerate(seeds):
            height = row + 0.5 * (seed - (len(seeds) - 1) / 2) / len(seeds)
            axes.scatter(100 * np.array(found), np.full(len(found), height), **look)
        mean = 100 * float(np.mean(seeds))
        axes.plot([mean, mean], [row - 0.32, row + 0.32], color=style.INK, linewidth=1.6)
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    style.finish(axes, title="Every training; the bar is the mean", x="test accuracy, %", y="")
    axes.grid(False, axis="y")
    return figure
