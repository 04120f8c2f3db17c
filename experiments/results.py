"""Writes README.md, RESULTS.md and the pages of docs/ that show figures of the runs in results/.

    python experiments/results.py                        writes them
    python experiments/results.py --check                exits 1, with a line, where one differs
    python experiments/results.py --keep FOLDER [NAME]   takes a finished run into results/NAME

A page has a template of its name in docs/templates. How figures are named there, and how a section
is added, stands in nasgen/report/results_page.py. A line `--8<-- "README.md:NAME"` becomes what
stands in that page between `<!-- --8<-- [start:NAME] -->` and `<!-- --8<-- [end:NAME] -->`.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nasgen.report import kept_results
from nasgen.report.results_page import render

ROOT = Path(__file__).resolve().parents[1]
DOCS, TEMPLATES = "docs", "docs/templates"
AT_ROOT = "README.md", "RESULTS.md"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_SECTION = re.compile(r'^--8<-- "([^":]+):([\w-]+)"$', re.MULTILINE)


def pages(root: Path) -> dict[str, str]:
    """What each page must hold, by its path. Raises `ValueError`: see `render`; a section that is
    not there."""
    runs = kept_results.load(root)
    made = {}
    for template in sorted((root / TEMPLATES).glob("*.md")):
        path = template.name if template.name in AT_ROOT else f"{DOCS}/{template.name}"
        line = f"<!-- Made by experiments/results.py from {TEMPLATES}/{template.name} -->\n\n"
        made[path] = line + render(template.read_text(), runs)
    return {path: _with_sections(text, path, made) for path, text in made.items()}


def _with_sections(text: str, path: str, made: Mapping[str, str]) -> str:
    """The page at `path` with the sections of others that it shows."""

    def section(match: re.Match) -> str:
        source, name = match.groups()
        _, start, rest = made.get(source, "").partition(f"<!-- --8<-- [start:{name}] -->\n")
        section, end, _ = rest.partition(f"\n<!-- --8<-- [end:{name}] -->")
        if not start or not end:
            raise ValueError(f"{source} has no section `{name}`, which {path} shows.")
        return LINK.sub(partial(_moved, source=source, path=path), section)

    return _SECTION.sub(section, text)


def _moved(link: re.Match, *, source: str, path: str) -> str:
    """A link of the page `source` as it must be in the page `path`."""
    mark, text, whole = link.groups()
    target, anchor, fragment = whole.partition("#")
    if ":" in target or not target:
        return link[0]
    target = os.path.join(os.path.dirname(source), target)
    target = os.path.relpath(target, os.path.dirname(path) or ".")
    return f"{mark}[{text}]({target}{anchor}{fragment})"


def main(argv: Sequence[str], *, root: Path = ROOT) -> int:
    """Runs the command line `argv`; returns the exit code."""
    match list(argv[1:]):
        case ["--keep", folder, *name] if len(name) < 2:
            return _keep(Path(folder), root, *name)
        case [] | ["--check"]:
            pass
        case _:
            print(__doc__.strip(), file=sys.stderr)
            return 2
    try:
        made = pages(root)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    differ = [name for name, text in made.items() if not _holds(root / name, text)]
    if "--check" in argv:
        for name in differ:
            print(f"{name} differs from its template and results/: python experiments/results.py")
        return int(bool(differ))
    for name in differ:
        (root / name).write_text(made[name])
        print(f"Written: {name}")
    return 0


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def _keep(folder: Path, root: Path, name: str | None = None) -> int:
    if not (folder / "results.json").exists():
        line = f"error: {folder} must be the folder of a finished run; it has no results.json."
        print(line, file=sys.stderr)
        return 2
    for path in kept_results.keep(folder, root, name or folder.resolve().name):
        print(f"Written: {path.relative_to(root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
