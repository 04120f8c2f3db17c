"""Writes RESULTS.md, and the table of figures in README.md, from the runs kept in results/.

    python experiments/results.py                        writes both
    python experiments/results.py --check                exits 1, with a line, where one differs
    python experiments/results.py --keep FOLDER [NAME]   takes a finished run into results/NAME

The templates are docs/RESULTS.template.md and docs/README.figures.template.md. How figures are
named in them, and how a section is added, stands in nasgen/report/results_page.py.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nasgen.report import kept_results
from nasgen.report.results_page import render

ROOT = Path(__file__).resolve().parents[1]
PAGE, TEMPLATE = "RESULTS.md", "docs/RESULTS.template.md"
README, FIGURES = "README.md", "docs/README.figures.template.md"
START, END = "<!-- figures: made by experiments/results.py -->\n", "<!-- end of figures -->\n"


def pages(root: Path) -> dict[str, str]:
    """What RESULTS.md and README.md must hold, by name. Raises `ValueError`: see `render`."""
    runs = kept_results.load(root)
    before, start, rest = (root / README).read_text().partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{README} must have the lines `{START.strip()}` and `{END.strip()}`.")
    table = render((root / FIGURES).read_text(), runs)
    return {
        PAGE: render((root / TEMPLATE).read_text(), runs),
        README: f"{before}{START}{table}{END}{after}",
    }


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
    differ = [name for name, text in made.items() if (root / name).read_text() != text]
    if "--check" in argv:
        for name in differ:
            print(f"{name} differs from its template and results/: python experiments/results.py")
        return int(bool(differ))
    for name in differ:
        (root / name).write_text(made[name])
        print(f"Written: {name}")
    return 0


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
