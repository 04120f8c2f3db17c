"""How docstrings are shown on the site: the house's `name: text` lines become a list."""

import re

import griffe

_ITEM = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*): ")
_SPLIT = re.compile(r"(?<=[.;]) (?=[a-z_]\w*(?:, [a-z_]\w*)*: )")


class Lists(griffe.Extension):
    """Rewrites every docstring before it is rendered."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring:
            obj.docstring.value = listed(obj.docstring.value)


def listed(docstring: str) -> str:
    """A docstring as Markdown: paragraphs of `name: text` as lists, all else as it is."""
    return "\n\n".join(map(_paragraph, docstring.split("\n\n")))


def _paragraph(text: str) -> str:
    if not _ITEM.match(text):
        return text
    lines = [part for line in text.splitlines() for part in _SPLIT.split(line)]
    starts = (_ITEM.sub(r"- **\1**: ", line) for line in lines)
    return "\n".join(line if line.startswith("- ") else f"  {line.strip()}" for line in starts)
