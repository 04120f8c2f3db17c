"""A generator of cells with the cells of its own pretraining."""

from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from nasgen import pretrained
from nasgen.keys import children
from nasgen.pipeline import cell_generator
from nasgen.pipeline.cells_data import distinct_cells, held_out
from nasgen.pipeline.config import UserError
from nasgen.pipeline.labels import CONDITIONS
from nasgen.pretrained.bundle import CellBundle, load_cells
from nasgen.spaces import SPACES, graphs
from nasgen.types import CellBatch


class Trained(NamedTuple):
    """A generator, and the cells of its pretraining: fitted ones, their keys, held-out ones."""

    bundle: CellBundle
    fitted: CellBatch
    known: frozenset[bytes]
    held: CellBatch


def load_trained(name: str) -> Trained:
    """The generator of this name with its cells, which its card says how to draw again. Raises
    UserError for one that learnt a user's measurements: nobody can measure them here."""
    bundle = load_cells(name)
    if bundle.names != CONDITIONS:
        raise UserError(
            f"`config.weights` must name generators with the conditions {', '.join(CONDITIONS)}; "
            f"{name} has {', '.join(bundle.names)}."
        )
    card = pretrained.read_card(name, "cells")
    about, space = ConfigDict(card["config"]), SPACES[bundle.space]
    key = children(jax.random.key(about.seed), "cells")["cells"]
    batch = distinct_cells(space, key, about.num_cells)[0]
    held = held_out(about, about.num_cells)
    known = frozenset(graphs.canonical_keys(graphs.take(batch, ~held)))
    fitted, others = (cell_generator.in_order(space, graphs.take(batch, r)) for r in (~held, held))
    return Trained(bundle, fitted, known, others)
