"""How much the first level's making matters: other numbers of mixture components, or other weights
of cells. The second level is pretrained anew on each, and what nasgen then finds is trained.

    VARIANT/cells.*   the weights of the cells, with the mixture of the variant
    VARIANT/macro/    a pretrain_macro run on top of them
    VARIANT/trained/  a bench_trained run of nasgen with both

VARIANT/test_accuracy/mean, /low, /high, /all. over/VARIANT/mean, /low, /high: by how much the first
    variant's networks are better, seed by seed (95 % interval of the mean, Student's t).
VARIANT/macro/...: the figures of its pretraining, which is done once: intervals are over searches
    and trainings, and say nothing of another pretraining.
"""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from nasgen import pretrained
from nasgen.benchmarks import contest, trained
from nasgen.keys import children
from nasgen.models import mixture
from nasgen.pipeline import pretrain_macro
from nasgen.pipeline.cell_generator import conditions_of, in_order
from nasgen.pipeline.config import COMMON, UserError, check, optional, some_of, text, whole
from nasgen.pipeline.nested import run_nested
from nasgen.pipeline.stages import Stage, read_stage, run_stages
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.pretrained.bundle import load_cells, save_cells
from nasgen.spaces import SPACES
from nasgen.statistics import interval_of_mean

VARIANT = {"cells": text(), "components": optional(whole(1, 4096))}


def run(config: ConfigDict, workdir: Workdir) -> None:
    """All variants, one after the other, then results.json. Raises UserError for a config that is
    off."""
    rules = {**COMMON, "num_mixture_cells": whole(100), "names": some_of(config.variants)}
    for name in config.variants:
        rules |= {f"variants.{name}.{key}": rule for key, rule in VARIANT.items()}
    check(config, rules, strict=False)
    check(config.macro, pretrain_macro.RULES)
    check(config.trained, trained.RULES)
    contest.check_settings(config.trained, "config.trained")
    if trained.OURS not in config.trained.entrants:
        raise UserError(f"`config.trained.entrants` must name {trained.OURS}.")
    names = list(config.names)
    for name in names:
        try:
            pretrained.find(config.variants[name].cells, "cells")
        except ValueError as error:
            raise UserError(f"{error} (`config.variants.{name}.cells`)") from None
    found = {name: _variant(config, workdir, name) for name in names}
    results: dict[str, Any] = {}
    for name, (macro, judged) in found.items():
        results |= {
            f"{name}/{key.removeprefix('nasgen/')}": value
            for key, value in judged.items()
            if key.startswith(("nasgen/test_accuracy", "nasgen/fitness"))
        }
        results |= {f"{name}/macro/{key}": value for key, value in macro.items()}
        gained = _last(found[names[0]][1]) - _last(judged)
        if name != names[0]:
            results[f"over/{name}/mean"] = float(gained.mean())
            if len(gained) > 1:
                low, high = interval_of_mean(gained)
                results |= {f"over/{name}/low": low, f"over/{name}/high": high}
    parts = [run["seconds_total"] for pair in found.values() for run in pair]
    parts += [read_stage(workdir.path, f"cells_{name}")["seconds"] for name in names]
    write_results(workdir, {**results, "seconds_total": sum(parts)})


def _last(judged: dict[str, Any]) -> np.ndarray:
    """Mean accuracies of nasgen's networks, a seed each."""
    return np.mean(judged["nasgen/test_accuracy/all"], 1)


def _variant(config: ConfigDict, workdir: Workdir, name: str) -> tuple[dict, dict]:
    """Results of both runs of a variant."""
    folder = workdir.path / name
    folder.mkdir(exist_ok=True)
    files = tuple(f"{name}/cells.{suffix}" for suffix in ("safetensors", "json"))
    work = partial(_cells, config, folder, config.variants[name])
    run_stages(workdir, [Stage(f"cells_{name}", files, work)])
    macro = config.macro.copy_and_resolve_references()
    macro.cells = str(folder)
    first = run_nested(folder / "macro", macro, pretrain_macro.run)
    judge = config.trained.copy_and_resolve_references()
    judge.pretrained = str(folder / "macro")
    return first, run_nested(folder / "trained", judge, trained.run)


def _cells(config: ConfigDict, folder: Path, variant: ConfigDict) -> dict[str, Any]:
    """The variant's cells as files."""
    bundle = load_cells(variant.cells)
    if variant.components is not None:
        space = SPACES[bundle.space]
        key = children(jax.random.key(config.seed), "cells")["cells"]
        batch = in_order(space, space.sample(key, config.num_mixture_cells))
        conditions = conditions_of(bundle, batch)
        fitted = mixture.fit_mixture(conditions, variant.components, seed=config.seed)
        bundle = bundle._replace(mixture=fitted)
    card = pretrained.read_card(variant.cells, "cells")
    save_cells(folder / "cells", bundle, card)
    return {"num_clusters": len(bundle.mixture.weights)}
