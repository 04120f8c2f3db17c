"""What a page is made of: one run as plain values, read from its folder by `pipeline.page`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nasgen.networks.plan import Plan
from nasgen.types import Architecture, Budget, Op, Task


class Network(NamedTuple):
    """A network of the run. name: of what a click opens. title: for readers."""

    name: str
    title: str
    architecture: Architecture
    plan: Plan


class Pretraining(NamedTuple):
    """What of the weights was trained before, once for all tasks: the part, its seconds."""

    part: str
    seconds: float


class Run(NamedTuple):
    """Everything that is known of a run; what is not there yet, or never will be, is None or empty.

    folder: its name. stages: in their order what each that is done returned, `seconds` among it.
    to_come: the names of the others. methods: by name what each search found so far, as
    `kept_search.found_to_json` (ours first). candidates: `params`, `macs`, `inside` of all that was
    proposed. clusters: in words, by number. cell_map, predictions, layer_times: as the files of
    these names hold it. networks: those to look at by their names, `METHOD-PLACE` of what was
    scored; `winner` among them. history: rows of the training.
    """

    folder: str
    pipeline: str
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    results: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, Any]]
    to_come: Sequence[str]
    budget: Budget
    task: Task | None = None
    data: str = ""
    ops: Sequence[Op] = ()
    methods: Mapping[str, Mapping[str, Any]] = {}
    candidates: Mapping[str, np.ndarray] | None = None
    finalists: Mapping[str, Any] | None = None
    cell_map: Mapping[str, np.ndarray] | None = None
    clusters: Mapping[int, str] = {}
    networks: Mapping[str, Network] = {}
    history: Sequence[Mapping[str, Any]] = ()
    predictions: Mapping[str, np.ndarray] | None = None
    layer_times: Mapping[str, Any] | None = None
    pretraining: Sequence[Pretraining] = ()

    @property
    def is_finished(self) -> bool:
        return self.results.get("finished") is True


OURS, WINNER = "ours", "winner"  # names of a method, and of a network


def finalist_name(finalists: Mapping[str, Any], index: int) -> str:
    """Among networks: that of what was scored, or its own where it was drawn at random."""
    scored = finalists["networks"][index]["scored"]
    return f"finalist-{index}" if scored is None else f"{OURS}-{scored}"
