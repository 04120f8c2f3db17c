"""The page of the benchmark by real training: accuracies by method, differences to nasgen, and
which fitness orders the networks after how many steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasgen.report import pictures
from nasgen.report.card import mean_with_interval, table, with_interval
from nasgen.report.markdown import REPORT
from nasgen.report.pictures import FIGURES

TITLES = {
    "nasgen": "nasgen",
    "hl_evo": "HL-Evo (the paper's)",
    "hl_evo_t_cet": "HL-Evo with its own T-CET",
    "evolution": "regularised evolution",
    "random_search": "random search",
    "random": "one network drawn at random",
    "cells_only": "cells only",
    "macro_only": "macro only",
    "nasgen_prior_cells": "nasgen, latents of the VAE's prior",
    "nasgen_sampler_cells": "nasgen, random cells",
    "resnet": "ResNet, by hand",
    "mobilenet_v2": "MobileNetV2, by hand",
    "hgen_cifar_1m": "the authors' best CIFAR network, scaled",
}
_INTRO = """Test accuracy in percent after {steps:,} steps of one recipe; the mean and its 95 %
interval over {seeds} seeds of the search with {trainings} trainings each (over trainings, by hand).
All methods had the same budget and equally many exact scores of their fitness, the one drawn at
random a single one. Predicted accuracy was fitted on networks that were briefly trained before;
nasgen alone also ranks by what it says of them without scores. Last: by how many points nasgen's
networks are better, pair by pair."""
_STEPS = """Spearman of a fitness, known before training, with the accuracy that networks reach
after so many steps; {number} different networks of this budget, bootstrap 95 % intervals. Most are
what a search led to, the best by some fitness, so this is of winners, not of all networks."""
# fitnesses of the table; results.json has all
_SHOWN = ("predicted_accuracy", "t_cet", "nwot", "zico", "synflow", "grad_norm", "depth")
_SHOWN += ("params", "macs")


def title(name: str) -> str:
    """What a method is called."""
    fitness = name.removeprefix("nasgen_")
    return TITLES.get(name, f"nasgen, maximising {fitness}")


def write_report(
    folder: Path, results: Mapping[str, Any], steps: Sequence[int], *, plots: bool = True
) -> Path:
    """Writes `folder/report.md` and, where there is matplotlib, the picture. results: flat."""
    names = [n.split("/")[0] for n in results if n.endswith("/test_accuracy/mean")]
    names.sort(key=lambda name: -results[f"{name}/test_accuracy/mean"])
    drawn = plots and pictures.can_draw()
    if drawn:
        from nasgen.report.trained_plots import accuracies

        values = {title(name): results[f"{name}/test_accuracy/all"] for name in names}
        pictures.save(folder, {"accuracies": accuracies(values, marked=title("nasgen"))})
    first = results[f"{names[0]}/test_accuracy/all"]
    intro = _INTRO.format(steps=results["steps"], seeds=len(first), trainings=len(first[0]))
    percent = dict(digits=1, scale=100)
    rows = [
        (
            title(name),
            mean_with_interval(results, f"{name}/test_accuracy", **percent),
            f"{results[f'{name}/params']:,.0f}",
            f"{results[f'{name}/macs']:,.0f}",
            mean_with_interval(results, f"nasgen/over/{name}", **percent),
        )
        for name in names
    ]
    header = ("Method", "Test accuracy, %", "Params", "MACs", "nasgen is better by")
    parts = ["# Networks of one budget, trained", intro, table(header, rows, right=2)]
    parts += [f"![Test accuracies of every training.]({FIGURES}/accuracies.png)"] if drawn else []
    if f"by_steps/{steps[-1]}/num_networks" in results:
        number = results[f"by_steps/{steps[-1]}/num_networks"]
        parts += ["## Which fitness orders them", _STEPS.format(number=number)]
        parts.append(_by_steps(results, steps))
    path = folder / REPORT
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _by_steps(results: Mapping[str, Any], steps: Sequence[int]) -> str:
    rows = [
        (
            name,
            *(with_interval(results, f"by_steps/{number}/{name}/spearman") for number in steps),
        )
        for name in _SHOWN
    ]
    return table(("Fitness", *(f"After {number:,} steps" for number in steps)), rows, right=1)
