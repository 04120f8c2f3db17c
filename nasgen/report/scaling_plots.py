"""The picture of what a search costs by the number of its candidates."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from nasgen.report import style


def cost_of_search(seconds: Mapping[int, float]) -> Figure:
    """Core-seconds over candidates, both logarithmic, beside a line of the first one's price."""
    figure, (axes,) = style.figure(3.2)
    numbers = sorted(seconds)
    price = seconds[numbers[0]] / numbers[0]
    linear = {"color": style.GREY, "linestyle": "--", "label": "linear, at the first one's price"}
    axes.plot(numbers, [price * num for num in numbers], **linear)
    axes.plot(numbers, [seconds[num] for num in numbers], label="measured", **style.SERIES[0])
    axes.set_xscale("log")
    axes.set_yscale("log")
    words = dict(title="What a search costs", x="candidates", y="core-seconds")
    style.finish(axes, **words, legend=True)
    return figure
