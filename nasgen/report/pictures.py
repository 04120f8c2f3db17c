"""Pictures of a report: whether any can be drawn here, and where they go."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

FIGURES = "figures"  # the folder of pictures beside a page


def can_draw() -> bool:
    """Whether matplotlib is installed; pages go without pictures where it is not."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        return False
    return True


def save(folder: Path, figures: Mapping[str, Any]) -> dict[str, str]:
    """Writes matplotlib figures by name; returns their paths as seen from the page in `folder`."""
    (folder / FIGURES).mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / FIGURES / f"{name}.png", metadata={"Software": None})
    return {name: f"{FIGURES}/{name}.png" for name in figures}
