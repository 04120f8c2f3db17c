"""Writes docs/configs.md and docs/all_configs.md: every key of every config, from the configs.

    python experiments/config_pages.py            writes both
    python experiments/config_pages.py --check    exits 1, with a line, where one differs

Keys and values are those of `get_config()`; what a key means is the comment at its assignment, in
the config or in the one that it starts from; what it may be is its rule in `pipeline/config`.
"""

import ast
import io
import re
import sys
import textwrap
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nasgen.pipeline import config as rules

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = "experiments/configs"
DEFAULT = "default"
KEYS_PAGE, ALL_PAGE = "docs/configs.md", "docs/all_configs.md"
_USUAL = {"seed": 0, "compilation_cache": True}
MADE = "<!-- Made by experiments/config_pages.py from experiments/configs/: change these. -->\n"


_KEYS = (
    MADE
    + """
# Configs

A config is a Python file whose `get_config()` returns flat groups of plain values. On the command
line `--config.GROUP.KEY=VALUE` sets one; whole numbers may have underscores, `None` leaves out what
may be left out. A wrong key, type or value is one line that says what would be right, before
anything is compiled or written.

## Keys of a design run

`experiments/configs/default.py`; configs of design runs start from it and change a few. The
pipeline `compare` has these keys and `beside`.

{table}

## All configs

| config | what it does |
| --- | --- |
{listed}
"""
)


class Config(NamedTuple):
    """A config file: its docstring, its values by dotted key, comments by key or group, and the
    config that it starts from ("" for none)."""

    name: str
    text: str
    values: Mapping[str, Any]
    comments: Mapping[str, str]
    base: str


def pages(root: Path) -> dict[str, str]:
    """The text of both pages, by name."""
    paths = sorted((root / CONFIGS).glob("*.py"))
    configs = {path.stem: read(path) for path in paths if path.stem != "__init__"}
    return {KEYS_PAGE: _keys_page(configs), ALL_PAGE: _all_page(configs)}


def read(path: Path) -> Config:
    """The config at `path`, with the comments of those that it imports from."""
    source = path.read_text()
    tree, values = ast.parse(source), rules.flat(rules.load_config(str(path)))
    imported = [read(path.with_name(f"{name}.py")) for name in _imported(tree)]
    inherited = {key: text for one in imported for key, text in one.comments.items()}
    bases = [one.name for one in imported if one.values.keys() <= values.keys()]
    said = inherited | comments(source)
    order = {key: place for place, key in enumerate(said)}
    values = dict(sorted(values.items(), key=lambda item: _place(item[0], order)))
    return Config(path.stem, ast.get_docstring(tree), values, said, "".join(bases[:1]))


def _place(key: str, order: Mapping[str, int]) -> list[int]:
    """Where the source first sets the key's group, the group's group and so on, and the key."""
    parts = key.split(".")
    prefixes = (".".join(parts[: i + 1]) for i in range(len(parts)))
    return [order.get(one, len(order)) for one in prefixes]


def comments(source: str) -> dict[str, str]:
    """What a source says of each key or group that it sets: the comment at the end of its lines,
    else the lines of comment right above. Keys within `ConfigDict(dict(...))` count as set."""
    ends, lines = _comment_lines(source)
    found, names = {}, {"config": ""}
    for node in sorted(_statements(ast.parse(source)), key=lambda node: node.lineno):
        keys, values = _set_by(node, names)
        above, line = [], node.lineno - 1
        while line in lines:
            above, line = [lines[line], *above], line - 1
        text = [ends[n] for n in range(node.lineno, node.end_lineno + 1) if n in ends] or above
        for key in keys:
            if text or key not in found:
                found[key] = " ".join(text)
        found |= dict.fromkeys((one for one in values if one not in found), "")
    return found


def _comment_lines(source: str) -> tuple[dict[int, str], dict[int, str]]:
    """Comments by line: those behind code, and those with a line of their own."""
    ends, lines = {}, {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = token.line.lstrip().startswith("#")
            (lines if alone else ends)[token.start[0]] = token.string.lstrip("# ")
    return ends, lines


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.Expr))


def _set_by(node: ast.Assign | ast.Expr, names: dict[str, str]) -> tuple[list[str], list[str]]:
    """The keys and groups that a statement assigns, and those within a group that it makes. Notes
    in `names` what a variable stands for: `config.train` in `train = config.train`."""
    if isinstance(node, ast.Expr):
        call = node.value
        if not (isinstance(call, ast.Call) and ast.unparse(call.func).endswith(".update")):
            return [], []
        group = _dotted(call.func.value, names)
        return [f"{group}.{one.arg}" for one in call.keywords if one.arg], []
    targets = [one for target in node.targets for one in getattr(target, "elts", [target])]
    for one in targets:
        if isinstance(one, ast.Name) and one.id not in names:
            known = isinstance(node.value, ast.Attribute)
            names[one.id] = _dotted(node.value, names) if known else one.id
    keys = [_dotted(one, names) for one in targets if isinstance(one, ast.Attribute)]
    made = [call for call in ast.walk(node.value) if isinstance(call, ast.Call)]
    inner = [one.arg for call in made if ast.unparse(call.func) == "dict" for one in call.keywords]
    return keys, [f"{key}.{one}" for key in keys for one in inner if one]


def _dotted(node: ast.expr, names: Mapping[str, str]) -> str:
    first, *rest = ast.unparse(node).split(".")
    return ".".join(part for part in (names.get(first, first), *rest) if part)


def _imported(tree: ast.Module) -> list[str]:
    """Configs that this one imports, or imports from."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "experiments.configs":
            found += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("experiments.configs."):
            found.append(node.module.rpartition(".")[2])
    return found


def _keys_page(configs: Mapping[str, Config]) -> str:
    default = configs[DEFAULT]
    listed = [
        f"| [`{one.name}`](all_configs.md#{one.name}) | {_escaped(_first_paragraph(one.text))} |"
        for one in configs.values()
        if one.name != DEFAULT
    ]
    table = "\n".join(_table(default, default.values, rules.DESIGN))
    return _KEYS.format(table=table, listed="\n".join(listed))


def _all_page(configs: Mapping[str, Config]) -> str:
    parts = [
        MADE,
        "# All configs\n",
        "Of each what differs from the config that it starts from; `seed` is 0 and",
        "`compilation_cache` true where nothing else stands there. How keys are set and checked:",
        "[Configs](configs.md).\n",
    ]
    for one in configs.values():
        if one.name == DEFAULT:
            continue
        parts += [f"## {one.name}\n", _prose(one.text), ""]
        before = configs[one.base].values if one.base else _USUAL
        values = {k: v for k, v in one.values.items() if k not in before or before[k] != v}
        if one.base:
            where = "configs.md" if one.base == DEFAULT else f"#{one.base}"
            end = ":" if values else "."
            parts.append(f"As [`{one.base}`]({where}){', but' if values else ''}{end}\n")
        parts += [*_table(one, values, {}), ""] if values else []
    return "\n".join(parts)


def _table(config: Config, values: Mapping[str, Any], may_be: Mapping[str, rules.Rule]):
    """Rows of a table, with one of each group that has a comment before its keys."""
    yield f"| key | default | what |{' may be |' if may_be else ''}"
    yield f"| --- | --- | --- |{' --- |' if may_be else ''}"
    told = set()
    for key, value in values.items():
        group = key.rpartition(".")[0]
        if group and group not in told and config.comments.get(group):
            told.add(group)
            yield f"| **{group}** | | {_escaped(config.comments[group])} |{' |' if may_be else ''}"
        what = _escaped(config.comments.get(key, ""))
        rule = f" {_escaped(may_be[key].text)} |" if may_be else ""
        yield f"| `{key}` | {_written(value)} | {what} |{rule}"


def _written(value: Any) -> str:
    if value is None:
        return "left out"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"`{value:_}`"
    return f"`{value!r}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _first_paragraph(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())


def _prose(text: str) -> str:
    """A docstring as Markdown: its commands as blocks of code."""
    parts = []
    for part in text.split("\n\n"):
        is_code = part.startswith((" ", "python ", "NASGEN_"))
        code = re.sub(r"(?<=\S) {4,}", r" \\\n    ", textwrap.dedent(part))
        parts.append(f"```\n{code}\n```" if is_code else _escaped(part))
    return "\n\n".join(parts)


def main(argv: Sequence[str], *, root: Path = ROOT) -> int:
    """Runs the command line `argv`; returns the exit code."""
    if list(argv[1:]) not in ([], ["--check"]):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    made = pages(root)
    written = {name: root / name for name in made}
    differ = [n for n, path in written.items() if not path.exists() or path.read_text() != made[n]]
    for name in differ:
        if "--check" in argv:
            print(f"{name} differs from the configs: python experiments/config_pages.py")
        else:
            written[name].write_text(made[name])
            print(f"Written: {name}")
    return int("--check" in argv and bool(differ))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
