"""How mkdocs makes the site (`make docs`): pages that lie outside of docs/, links, figures.

Links in Markdown are those of the repository, so they work there, too; on the site a link to one
of `PAGES` leads to its page, and one to a file that the site lacks becomes the file's path. Figures
are named as in `report/results_page`, `{{bench_new_task: seconds_to_networks | .1f}}`, and come of
the runs in results/. A line `--8<-- "README.md:NAME"` is what stands in that file between
`<!-- --8<-- [start:NAME] -->` and `<!-- --8<-- [end:NAME] -->`, links as they are meant there.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nasgen.report import kept_results
from nasgen.report.results_page import render

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"
PAGES = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "RESULTS.md")  # at the root
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_SNIPPET = re.compile(r'^--8<-- "([^":]+):([\w-]+)"$', re.MULTILINE)
_CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)


def on_files(files: Any, config: Any) -> Any:
    """Adds the root's pages."""
    from mkdocs.structure.files import File

    for name in PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A page as the site shows it."""
    name = page.file.src_uri
    whole = with_links(with_figures(markdown), name if name in PAGES else f"{DOCS}/{name}")
    return _SNIPPET.sub(lambda match: with_links(_section(*match.groups()), match[1]), whole)


def with_figures(markdown: str) -> str:
    """The page with its figures. Raises ValueError as `render`."""
    return render(markdown, kept_results.load(ROOT)) if "{{" in markdown else markdown


def with_links(markdown: str, source: str) -> str:
    """The page, which lies at `source` in the repository, with the site's links; code is left as
    it is."""
    parts = _CODE.split(markdown)
    return "".join(
        part if number % 2 else _LINK.sub(lambda match: _linked(match, source), part)
        for number, part in enumerate(parts)
    )


def _section(source: str, name: str) -> str:
    """Raises ValueError where the file has no such section."""
    _, start, rest = (ROOT / source).read_text().partition(f"<!-- --8<-- [start:{name}] -->\n")
    section, end, _ = rest.partition(f"<!-- --8<-- [end:{name}] -->")
    if not start or not end:
        raise ValueError(f"{source} has no section `{name}`.")
    return section


def _linked(match: re.Match, source: str) -> str:
    mark, text, link = match.groups()
    target, anchor, fragment = link.partition("#")
    if ":" in target or not target:
        return match[0]
    path = os.path.normpath(os.path.join(os.path.dirname(source), target))
    if path in PAGES:
        return f"{mark}[{text}]({path}{anchor}{fragment})"
    if path.startswith(f"{DOCS}/"):
        return f"{mark}[{text}]({os.path.relpath(path, DOCS)}{anchor}{fragment})"
    if not (ROOT / path).exists():
        return match[0]  # mkdocs says that it leads nowhere
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"
