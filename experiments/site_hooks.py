"""How mkdocs makes the site (`make docs`): pages that lie outside of docs/, and links.

Links in Markdown are those of the repository, so they work there, too; on the site a link to one
of `PAGES` leads to its page, and one to a file that the site lacks becomes the file's path.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.results import DOCS, LINK

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "RESULTS.md")  # at the root
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
    return with_links(markdown, name if name in PAGES else f"{DOCS}/{name}")


def with_links(markdown: str, source: str) -> str:
    """The page, which lies at `source` in the repository, with the site's links; code is left as
    it is."""
    parts = _CODE.split(markdown)
    return "".join(
        part if number % 2 else LINK.sub(lambda match: _linked(match, source), part)
        for number, part in enumerate(parts)
    )


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
