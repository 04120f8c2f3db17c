"""Fits the predictors of trained accuracy on the table of trained networks; takes seconds."""

from pathlib import Path

from ml_collections import ConfigDict

from nasgen.models.accuracy import Accuracy
from nasgen.pipeline.accuracy_fit import (
    FITS,
    cross_validated,
    read_rows,
    read_table,
    without_scores,
)
from nasgen.pipeline.config import COMMON, boolean, check, one_of, text, whole
from nasgen.pipeline.pretrain_cells import card, check_ship, ship
from nasgen.pipeline.workdir import Workdir, write_results
from nasgen.pretrained.bundle import save_accuracy

PART = "accuracy"
BEST = "best"
RULES = {
    **COMMON,
    "table": text(),
    "fit": one_of((BEST, *FITS)),
    "folds": whole(2, 1000),
    "ship": boolean(),
    "name": text(),
}


def run(config: ConfigDict, workdir: Workdir) -> None:
    """Compares the fits by cross-validation over networks, fits on all of them, writes weights and
    results.json. Raises UserError for a config that is off and a table that is not there."""
    check(config, RULES)
    check_ship(config)
    frame = read_table(config.table)
    rows = read_rows(frame)
    options = dict(folds=config.folds, seed=config.seed)
    found = {name: cross_validated(rows, fit, **options) for name, fit in FITS.items()}
    chosen = max(found, key=found.get) if config.fit == BEST else config.fit
    early = without_scores(rows)
    unscored = cross_validated(early, FITS[chosen], **options)
    figures = {
        "fit": chosen,
        "num_networks": len(set(rows.network)),
        "num_rows": len(rows.target),
        **{f"cross_validated/{name}/spearman": value for name, value in found.items()},
        "cross_validated/unscored/spearman": unscored,
    }
    about = card(config, "nasgen's predictor of trained accuracy", figures)
    tasks = ", ".join(sorted(set(rows.task)))
    about["data"] = f"{Path(config.table).name}: networks of open trained briefly on {tasks}"
    fitted = Accuracy(FITS[chosen](rows), FITS[chosen](early))
    save_accuracy(workdir.path / PART, fitted, about)
    ship(config, workdir.path, PART)
    write_results(workdir, figures)
