"""Where pretrained weights lie: `NAME.safetensors` and `NAME.json`, the card, in this folder or,
named `weights`, in the folder of a pretrain run. Light to import; `bundle` reads the weights.
"""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def find(name: str) -> tuple[Path, Path]:
    """Paths of weights and card of this name among the shipped ones, or in the folder of this path.

    Raises ValueError, in one line, for a name that is not there."""
    folder = FOLDER if (FOLDER / f"{name}.safetensors").exists() else Path(name)
    stem = name if folder == FOLDER else "weights"
    weights, card = folder / f"{stem}.safetensors", folder / f"{stem}.json"
    if not weights.is_file() or not card.is_file():
        shipped = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
        raise ValueError(
            f"`pretrained` must be one of {shipped} or the folder of a pretrain run; got {name!r}."
        )
    return weights, card


def damaged(weights: Path, why: object) -> ValueError:
    """The error for weights or a card that cannot be used."""
    return ValueError(
        f"the weights {weights} are damaged ({why}); install nasgen again, or pretrain."
    )


def space_of(name: str) -> str:
    """The space whose cells these weights write, from the card alone. Raises ValueError as `find`,
    and for a damaged card."""
    weights, card = find(name)
    try:
        about: dict[str, Any] = json.loads(card.read_text())
        return about["models"]["space"]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(weights, error) from None
