"""The site's pages: code blocks run, commands name configs and keys that there are, links lead
somewhere; and mkdocs builds it.

A page's blocks run from top to bottom in one namespace, as a reader would run them. The comment
`<!-- slow -->` right above a block leaves it to the slow tests, `<!-- not run: why -->` out.
"""

import ast
import inspect
import linecache
import re
import shlex
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest

import nasgen
from experiments import run, site_hooks
from experiments.results import LINK
from nasgen import data
from nasgen.networks.plans import PLANS
from nasgen.networks.plans.open import CHAINS
from nasgen.proxies import PROXIES
from nasgen.search.methods import METHODS
from nasgen.spaces import SPACES

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path
    for folder in (ROOT / "docs", ROOT)
    for path in sorted(folder.glob("*.md"))
}
MARK = re.compile(r"<!-- (slow|not run: .+?) -->\n\Z")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block. line: of its first line in the page, from 1. mark: `slow`, `not run`, ``."""

    language: str
    code: str
    line: int
    mark: str


def blocks(page: Path) -> list[Block]:
    text, found = page.read_text(), []
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        mark = MARK.search(before)
        words = mark[1].partition(":")[0] if mark else ""
        found.append(Block(match[1], match[2], before.count("\n") + 2, words))
    return found


def run_blocks(page: Path, name: str, chosen: tuple[str, ...]) -> None:
    """Runs the page's Python with these marks; what fails is named as `page:line`."""
    space = {"__name__": "page"}
    linecache.cache[name] = (0, None, page.read_text().splitlines(keepends=True), name)
    for block in blocks(page):
        if block.language == "python" and block.mark in chosen:
            code = compile("\n" * (block.line - 1) + block.code, name, "exec", dont_inherit=True)
            try:
                exec(code, space)
            except Exception as error:
                frames = traceback.extract_tb(error.__traceback__)
                line = [frame.lineno for frame in frames if frame.filename == name][-1]
                pytest.fail(f"{name}:{line}: {type(error).__name__}: {error}")


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty folder to work in, and registries that are as before afterwards."""
    monkeypatch.chdir(tmp_path)
    registries = SPACES, PLANS, CHAINS, PROXIES, METHODS, data.DATASETS
    before = [(registry, dict(registry)) for registry in registries]
    yield
    for registry, entries in before:
        registry.clear()
        registry.update(entries)


def with_python(mark: str) -> list[str]:
    marks = {
        name: [b.mark for b in blocks(p) if b.language == "python"] for name, p in PAGES.items()
    }
    return [name for name, found in marks.items() if mark in found]


@pytest.mark.parametrize("name", with_python(""))
def test_quick_blocks_run(name, fresh):
    run_blocks(PAGES[name], name, ("",))


@pytest.mark.slow
@pytest.mark.parametrize("name", with_python("slow"))
def test_all_blocks_run(name, fresh):
    run_blocks(PAGES[name], name, ("", "slow"))


def test_a_block_that_breaks_names_page_and_line(tmp_path, fresh):
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```python\nx = 1\n```\n\ntext\n\n```python\ny = x\nassert y == 2\n```\n"
    )
    with pytest.raises(pytest.fail.Exception, match=r"docs/page\.md:11: AssertionError"):
        run_blocks(page, "docs/page.md", ("",))


COMMAND = re.compile(r"^(?:\w+=\S+ )*python (experiments/run\.py(?:.*\\\n)*.*)$", re.MULTILINE)


def commands() -> list:
    found = []
    for name, page in PAGES.items():
        for block in blocks(page):
            for match in COMMAND.finditer(block.code if block.language == "" else ""):
                line = block.line + block.code[: match.start()].count("\n")
                found.append(pytest.param(match[1], id=f"{name}:{line}"))
    return found


@pytest.mark.parametrize("command", commands())
def test_commands_name_configs_and_keys_that_there_are(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    argv = shlex.split(re.sub(r"\\\n|\[|\]", " ", command))
    if argv[1].startswith("--report="):
        assert len(argv) == 2
        return
    dry = "--dry_run" in argv
    argv = [one for one in argv if one != "--dry_run"] + ["--workdir=none"] * dry
    config, workdir = run.parse(argv)
    assert config.pipeline in run.PIPELINES and workdir


def links(text: str) -> list[str]:
    found = [match[3].partition("#")[0] for match in LINK.finditer(text)]
    return [link for link in found if link and ":" not in link]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files(name):
    text = FENCE.sub("", PAGES[name].read_text())
    for link in links(text):
        assert (PAGES[name].parent / link).exists(), f"{name}: {link}"


@pytest.mark.parametrize("name", PAGES)
def test_pages_hold_no_figure_or_section_by_name(name):
    """The site shows pages as they lie here; what has such names is in docs/templates."""
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", PAGES[name].read_text()))
    assert "{{" not in text and '--8<-- "' not in text


def test_links_become_those_of_the_site():
    page = "[a](faq.md#x) ![b](search.png) [c](../RESULTS.md) [d](../setup.cfg) `[e](f)` [g](no.md)"
    assert site_hooks.with_links(page, "docs/index.md") == (
        "[a](faq.md#x) ![b](search.png) [c](RESULTS.md) d (`setup.cfg`) `[e](f)` [g](no.md)"
    )
    page = "[tables](docs/tables.md) [setup.cfg](setup.cfg) [h](https://a.b/c) [i](#j)"
    assert site_hooks.with_links(page, "RESULTS.md") == (
        "[tables](tables.md) `setup.cfg` [h](https://a.b/c) [i](#j)"
    )


def test_every_door_is_in_the_reference():
    doors = set(re.findall(r'"(\w+)"', inspect.getsource(nasgen.__getattr__))) - {"cells"}
    page = PAGES["docs/api.md"].read_text()
    named = re.findall(r"^::: nasgen\.([\w.]+)$", page, re.MULTILINE)
    assert doors <= {one.rpartition(".")[2] for one in named}
    for one in named:
        module, _, name = one.rpartition(".")
        path = ROOT / "nasgen" / module.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        found = [
            node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") == name
        ]
        assert [ast.get_docstring(node) for node in found] != [], f"{one} is not in {path}"
        assert all(map(ast.get_docstring, found)), f"{one} has no docstring"


def test_docstrings_become_lists():
    pytest.importorskip("griffe")
    from experiments.site_docstrings import listed

    docstring = (
        "What.\n\nnum: how many,\n    at most. key: of all.\nspace, name: both.\n\nRaises: no."
    )
    assert listed(docstring) == (
        "What.\n\n- **num**: how many,\n  at most.\n- **key**: of all.\n- **space, name**: both."
        "\n\nRaises: no."
    )


@pytest.mark.slow
def test_the_site_builds(tmp_path, monkeypatch):
    pytest.importorskip("mkdocs")
    from mkdocs.__main__ import cli

    monkeypatch.chdir(ROOT)
    cli(["build", "--strict", "--site-dir", str(tmp_path)], standalone_mode=False)
    assert "Two commands" in (tmp_path / "index.html").read_text()
