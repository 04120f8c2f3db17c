"""The parts that data of others come in, by the names that others give them."""

from collections.abc import Mapping
from typing import Any

# what a split may be called -> what it is here
NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_of(name: str) -> str | None:
    """`train`, `validation` or `test`, or None where the name is that of no split."""
    return NAMES.get(name.lower())


def held_out_parts(parts: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The parts `validation` and `test` as `from_arrays` takes them, and what to say about them.

    A single one is kept for the test, whatever its name, so that the last figure is on what others
    held out too; validation then comes out of the training part.
    """
    if set(parts) == {"validation"}:
        note = "There is no test part: the validation part is the test, and a fifth of the "
        return {"test": parts["validation"]}, (note + "training part is for validation.",)
    return dict(parts), ()
