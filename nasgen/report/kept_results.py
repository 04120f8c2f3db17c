"""The runs that `RESULTS.md` tells of, as files: `results/NAME/` holds results.json, config.json
and env.json of one, and its finalists where there are any, without paths, hosts and architectures.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasgen.report.derived import DERIVED

KEPT = ("results", "config", "env", "finalists")
# the folders of an absolute path; a slash within a name begins none
ABSOLUTE = re.compile(r"(?<![\w.:/])/(?:[\w.+-]+/)*(?=\w)")


def load(root: Path) -> dict[str, dict[str, Any]]:
    """Of each run in `root/results`, and of the cards of shipped weights and of tables, its figures
    by key: names of results.json as they stand, those of other files below the file's name. What
    follows from several runs is the run `derived`. Raises `ValueError` where it cannot."""
    runs = {}
    for folder in sorted(one for one in (root / "results").iterdir() if one.is_dir()):
        files = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
        runs[folder.name] = flat(files.pop("results") | files)
    cards = [root / "nasgen/pretrained", root / "results"]
    runs |= {path.stem: _card(path) for folder in cards for path in sorted(folder.glob("*.json"))}
    runs["derived"] = flat({name: _derived(name, runs) for name in DERIVED})
    return runs


def _derived(name: str, runs: Mapping[str, Mapping[str, Any]]) -> Any:
    try:
        return DERIVED[name](runs)
    except KeyError as error:
        raise ValueError(f"`derived: {name}` needs {error}, which is not in results/.") from None
    except ValueError as error:
        raise ValueError(f"`derived: {name}` does not follow from results/: {error}.") from None


def _card(path: Path) -> dict[str, Any]:
    """The same of a card; `bytes` is what card and weights take."""
    card = json.loads(path.read_text())
    files = [path, path.with_suffix(".safetensors")]
    size = sum(one.stat().st_size for one in files if one.exists())
    kept = {"config": card["config"], "env": card["environment"], "bytes": size}
    return flat(card["figures"] | kept)


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Every value of nested dicts and lists by its path, `a/0/b`; those that hold others, too."""
    found, groups = {}, [("", values)]
    for start, group in groups:  # which grow on the way
        for key, value in group.items() if isinstance(group, Mapping) else enumerate(group):
            found[f"{start}{key}"] = value
            if isinstance(value, Mapping | list):
                groups.append((f"{start}{key}/", value))
    return found


def keep(folder: Path, root: Path, name: str) -> list[Path]:
    """Copies what is kept of the finished run in `folder` to `root/results/name`."""
    into = root / "results" / name
    into.mkdir(parents=True, exist_ok=True)
    written = []
    for stem in KEPT:
        path = folder / f"{stem}.json"
        if path.exists():
            values = cleaned(json.loads(path.read_text()), name)
            written.append(into / path.name)
            written[-1].write_text(json.dumps(values, indent=2) + "\n")
    return written


def _relative(key: str) -> str:
    """A key without the folders of an absolute path, but for the last: it tells weights apart."""
    return "/".join(key.split("/")[-2:]) if key.startswith("/") else key


def cleaned(value: Any, name: str) -> Any:
    """`value` of a run's JSON without hosts, architectures and the folders of absolute paths; its
    workdir is `runs/name`."""
    if isinstance(value, Mapping):
        kept = {k: v for k, v in value.items() if k not in ("host", "architecture")}
        return {_relative(key): cleaned(one, name) for key, one in kept.items()}
    if isinstance(value, list):
        return [cleaned(one, name) for one in value]
    if isinstance(value, str):
        return ABSOLUTE.sub("", re.sub(r"(--workdir[= ])\S+", rf"\1runs/{name}", value))
    return value
