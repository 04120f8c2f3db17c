"""Results that are dear, kept one by one: a JSON object a line, each with its own sha256.

A line is there or not, so a process that is killed loses the one that it was at; a damaged line is
left out and done again, never believed.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from nasgen import processes


def append(path: Path, row: dict[str, Any]) -> None:
    """Adds a row (of JSON values, NaN and infinities too), in the first process of a run."""
    if not processes.is_first():
        return
    line = json.dumps({"row": row, "sha256": _digest(row)}) + "\n"
    with path.open("a+b") as file:
        if file.seek(0, 2):
            file.seek(-1, 2)
            line = line if file.read() == b"\n" else "\n" + line  # behind one that was torn
        file.write(line.encode())


def read(path: Path) -> list[dict[str, Any]]:
    """The rows that are whole, as the first process of a run reads them; how many are not, on
    stderr."""
    return processes.from_first(lambda: _read(path))


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    rows, damaged = [], 0
    for line in path.read_bytes().splitlines():
        try:
            kept = json.loads(line)
            row, whole = kept["row"], kept["sha256"] == _digest(kept["row"])
        except (ValueError, KeyError, TypeError):
            whole = False
        if whole:
            rows.append(row)
        elif line:
            damaged += 1
    if damaged:
        print(
            f"{path}: {damaged} damaged or torn lines; doing these again",
            file=sys.stderr,
            flush=True,
        )
    return rows


def _digest(row: Any) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
