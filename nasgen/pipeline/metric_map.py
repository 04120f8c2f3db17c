"""A map of the metric space: where the cells of a run lie among the cells of the space.

metric_map.npz   places [cells, 2] on the two main axes of the latents of random cells, and the
                 share of variance that each axis has; conditions in natural units; clusters;
                 networks: of which scored network a cell is, RANDOM for none, WINNER; stages
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from nasgen.models import mixture
from nasgen.pipeline.cell_generator import regressed
from nasgen.pipeline.chunks import encode_all
from nasgen.pipeline.workdir import save_arrays
from nasgen.pretrained.bundle import CellBundle
from nasgen.spaces import SPACES, graphs
from nasgen.types import Architecture

FILE = "metric_map.npz"
RANDOM, WINNER = -1, -2
_RANDOM_CELLS, _NETWORKS = 1_024, 64  # on the map


def map_cells(
    key: Key[Array, ""],
    bundle: CellBundle,
    scored: Sequence[Architecture],
    best: Sequence[int],
    winner: Architecture,
    folder: Path,
) -> None:
    """Writes the file: random cells, those of the best of the scored networks (`best`: places of
    all, the best first), and the winner's."""
    space = SPACES[bundle.space]
    shown = [(place, scored[place]) for place in best[:_NETWORKS]] + [(WINNER, winner)]
    own = [(number, stage) for number, one in shown for stage in range(len(one.cells))]
    drawn = graphs.unpack(space.sample(key, _RANDOM_CELLS))
    batch = graphs.pack([*drawn, *(cell for _, one in shown for cell in one.cells)])
    latents = encode_all(bundle.vae, bundle.vae_config, *batch)
    conditions = regressed(bundle, latents)
    standard = np.asarray(bundle.latents.apply(latents))
    axes, shares = main_axes(standard[: len(drawn)])
    networks, stages = np.array([(RANDOM, 0)] * len(drawn) + own, np.int32).T
    save_arrays(
        folder / FILE,
        places=((standard - standard[: len(drawn)].mean(0, keepdims=True)) @ axes).astype("f4"),
        shares=shares,
        conditions=np.asarray(bundle.conditions.undo(conditions), np.float32),
        names=np.array(bundle.names),
        clusters=np.asarray(jax.device_get(mixture.assign(bundle.mixture, conditions)), np.int32),
        networks=networks,
        stages=stages,
    )


def main_axes(
    points: Float[np.ndarray, "points dims"],
) -> tuple[Float[np.ndarray, "dims 2"], Float[np.ndarray, "2"]]:
    """The two directions of most variance, and the share of it that each has."""
    centred = points - points.mean(0, keepdims=True)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    variances = sizes**2
    return directions[:2].T, variances[:2] / variances.sum()
