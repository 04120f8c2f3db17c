"""Where pretrained weights lie: a part is `PART.safetensors` and `PART.json`, the card, in the
folder of a run; shipped ones are named `PART_NAME` here. Light to import; `bundle` reads them.

Parts: `cells` (the generator of a space's cells), `macro` (of macro architectures on top) and
`accuracy` (the predictor of trained accuracy).
"""

import hashlib
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PARTS = ("cells", "macro", "accuracy")
SEAL = "card_sha256"


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


def accuracy_of(name: str) -> str | None:
    """The weights whose predictors of accuracy go with generators of this name: their own, else the
    shipped ones, which do not depend on the generators; None without any."""
    return next((one for one in (name, *shipped("accuracy")) if is_there(one, "accuracy")), None)


def is_there(name: str, part: str) -> bool:
    """Whether `find` finds it."""
    try:
        find(name, part)
    except ValueError:
        return False
    return True


def hash_of(name: str, part: str) -> str | None:
    """The sha256 of these weights by their card; None where it cannot be read: who loads them says
    why."""
    try:
        _, card = find(name, part)
        return json.loads(card.read_text())["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def damaged(file: Path, why: object) -> ValueError:
    """The error for weights or a card that cannot be used."""
    return ValueError(f"the weights {file} are damaged ({why}); install nasgen again, or pretrain.")


def space_of(name: str, part: str) -> str:
    """The space whose cells these weights write, from the card alone. Raises ValueError as `find`,
    and for a damaged card."""
    return read_card(name, part)["models"]["space"]


def sealed(card: dict[str, Any]) -> dict[str, Any]:
    """The card with the sha256 of all else that it says, so that damage to it is seen, too."""
    card = {name: value for name, value in card.items() if name != SEAL}
    return {**card, SEAL: _digest(card)}


def read_card(name: str, part: str) -> dict[str, Any]:
    """The card of these weights. Raises ValueError as `find`, and where it is damaged. Only a card
    of a user's own may have no seal: one that an earlier version wrote."""
    _, path = find(name, part)
    try:
        card: dict[str, Any] = json.loads(path.read_text())
        card["models"]["space"]
        seal = card.pop(SEAL, None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, error) from None
    if seal != _digest(card) and not (seal is None and path.parent != FOLDER):
        raise damaged(path, "its bytes are not those that were written")
    return card


def _digest(card: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
