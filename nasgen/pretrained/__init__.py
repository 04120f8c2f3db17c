"""Where pretrained weights lie: a part is `PART.safetensors` and `PART.json`, the card, in the
folder of a run; shipped ones are named `PART_NAME` here. Light to import; `bundle` reads them.

Parts: `cells` (the generator of a space's cells), `macro` (of macro architectures on top) and
`accuracy` (the predictor of trained accuracy).
"""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PARTS = ("cells", "macro", "accuracy")


def find(name: str, part: str) -> tuple[Path, Path]:
    """Paths of weights and card of a part: shipped under this name, or in the folder of this path.

    Raises ValueError, in one line, where they are not there."""
    is_shipped = (FOLDER / f"{part}_{name}.safetensors").exists()
    stem = FOLDER / f"{part}_{name}" if is_shipped else Path(name) / part
    weights, card = stem.with_suffix(".safetensors"), stem.with_suffix(".json")
    if not weights.is_file() or not card.is_file():
        raise ValueError(
            f"`pretrained` must be one of {shipped(part)} or the folder of a pretrain_{part} run; "
            f"got {name!r}."
        )
    return weights, card


def shipped(part: str) -> list[str]:
    """Names of the shipped weights of a part."""
    return sorted(p.stem.removeprefix(f"{part}_") for p in FOLDER.glob(f"{part}_*.safetensors"))


def damaged(weights: Path, why: object) -> ValueError:
    """The error for weights or a card that cannot be used."""
    return ValueError(
        f"the weights {weights} are damaged ({why}); install nasgen again, or pretrain."
    )


def space_of(name: str, part: str) -> str:
    """The space whose cells these weights write, from the card alone. Raises ValueError as `find`,
    and for a damaged card."""
    weights, card = find(name, part)
    try:
        about: dict[str, Any] = json.loads(card.read_text())
        return about["models"]["space"]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(weights, error) from None
