"""A page of figures from a template and the runs that it tells of, such as `RESULTS.md`.

A template is Markdown with placeholders. `RUN` names a run (`kept_results.load`: a folder of
`results/`, or a card of shipped weights), `KEY` a figure of its results.json; `config/budget/macs`,
`env/cpu_count` and `finalists/rounds/0/steps` are of the files beside it.

    {{RUN: KEY | ,.0f}}               a figure: 76,616; of a list all, with commas
    {{RUN: KEY/interval | .1%}}       its interval: 98.9 to 99.7 %
    {{RUN: KEY (interval) | .2r}}     the figure and its interval: .89 (.84 to .91)
    {{RUN: KEY (interval?) | .2r}}    the same; the figure alone where it has no interval
    {{RUN: {a,b}/KEY | .1f}}          several, as cells of a table: 1.0 | 2.0
    {{RUN: KEY? | .1f}}               nothing where the run has no such figure
    {{RUN}}                           commit a66c573, 2 CPU cores, jax 0.10.2, 25 minutes
    {{RUN, RUN}}                      the same of several, all their time

A format is Python's, or ends in `%` (times 100, with the sign), `r` (no zero before the point, as
correlations are written) or `s` (so many significant digits), and may scale: `.1f /60`, `.2r *-1`.

A table is a header in Markdown and a row for each name. The line below `}}` is repeated, `KEY` and
`NAME` in it replaced; a line without a colon is both:

    | | after 8 | after 50 |
    | --- | ---: | ---: |
    {{each
    generate: nasgen
    evolution: regularised evolution
    }}
    | NAME | {{bench_search: KEY/best_score_at/{8,50} (interval) | ,.0f}} |

To add a section: `python experiments/results.py --keep runs/bench_search` takes the finished run
into `results/bench_search`; write heading, command, `*Run: {{bench_search}}.*` and table into
`docs/templates/RESULTS.md`; `python experiments/results.py` writes the page. A figure that follows
from several is one more function in `derived`. Whatever a template names and no run has is a
`ValueError` of one line.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nasgen.statistics import wilson_interval

Run = Mapping[str, Any]  # figures by key, as `kept_results.flat` makes them

_PLACEHOLDER = re.compile(r"\{\{(.+?)\}\}(?!\})")
_EACH = re.compile(r"^\{\{each\n(.+?)\n\}\}\n([^\n]*)", re.MULTILINE | re.DOTALL)
_BRACES = re.compile(r"\{([^{}]*)\}")
_KEY = re.compile(r"(.+?)(\?)?( \(interval(\?)?\))?")
_FORMAT = re.compile(r"(,?(?:\.\d+)?)([defg%rs]?)(?: ([*/])(-?[\d.]+(?:e-?\d+)?))?")


def render(template: str, runs: Mapping[str, Run]) -> str:
    """The page. Raises `ValueError`: an unknown run or figure, with the nearest; a wrong format; a
    placeholder that does not end."""
    text = _EACH.sub(_rows, template)
    page = _PLACEHOLDER.sub(lambda match: _figures(match[1], runs), text)
    _, opened, after = page.partition("{{")
    if opened:
        start = after.partition("\n")[0]
        raise ValueError(
            f"`{{{{{start}` must end with `}}}}`: `each` in a line below, all else here."
        )
    return page


def circumstances(*runs: Run) -> str:
    """Where runs were made: `commit a66c573, 1 to 2 CPU cores, jax 0.10.2, 25 minutes`.

    All sessions of a run that was resumed count; the time is `seconds_total`, over all seeds.
    """
    sessions = [one for run in runs for one in (run["env"], *run["env"].get("resumed", ()))]
    revisions = [one["git_revision"] for one in sessions if one.get("git_revision")]
    commits = _distinct(re.sub(r"(?<=^\w{7})\w*", "", one) for one in revisions)
    parts = [f"commit{'s' * (len(commits) > 1)} {', '.join(commits)}"] if commits else []
    parts += [_hardware(sessions)]
    parts += ["jax " + " and ".join(_distinct(one["packages"]["jax"] for one in sessions))]
    seconds = sum(math.fsum(_seconds(run)) for run in runs)
    return ", ".join([*parts, *([_duration(seconds)] if seconds else [])])


def _seconds(run: Run) -> list[float]:
    return run.get("seconds_total/all", [run.get("seconds_total", 0)])


def _hardware(sessions: list[Mapping[str, Any]]) -> str:
    first = sessions[0]
    if first["backend"] != "cpu":
        return f"{first['device_count']} {first['device_kind']}"
    counts = sorted({one["cpu_count"] for one in sessions})
    return f"{' to '.join(map(str, counts))} CPU core{'s' * (counts[-1] > 1)}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _rows(match: re.Match) -> str:
    names, line = match[1].splitlines(), match[2]
    pairs = [name.partition(": ") for name in names]
    return "\n".join(
        line.replace("KEY", key.strip()).replace("NAME", (shown or key).strip())
        for key, _, shown in pairs
    )


def _figures(text: str, runs: Mapping[str, Run]) -> str:
    """What stands in place of `{{text}}`."""
    named, _, rest = text.partition(": ")
    names = named.split(", ")
    key, _, form = rest.partition(" | ")
    try:
        for name in names:
            if name not in runs:
                raise ValueError(f"`{name}` is no run{_nearest(name, runs)}")
        if not rest:
            return circumstances(*(runs[name] for name in names))
        if len(names) > 1:
            raise ValueError("a figure must be of one run.")
        write, unit = _format(form or ",")
        return " | ".join(_figure(runs[named], one, write, unit) for one in _expanded(key))
    except ValueError as error:
        raise ValueError(f"`{{{{{text}}}}}`: {error}") from None


def _expanded(key: str) -> list[str]:
    """`{a,b}/c` as `a/c` and `b/c`, the first braces slowest."""
    match = _BRACES.search(key)
    if match is None:
        return [key]
    before, after = key[: match.start()], key[match.end() :]
    return [full for one in match[1].split(",") for full in _expanded(f"{before}{one}{after}")]


def _figure(run: Run, text: str, write: Callable[[float], str], unit: str) -> str:
    key, optional, interval, if_any = _KEY.fullmatch(text).groups()
    value = _value(run, key)
    if value is None:
        if optional:
            return ""
        raise ValueError(f"the run has no figure `{key}`{_nearest(key, run)}")
    if not interval:
        between = " to " if key.endswith("/interval") else ", "
        return _written(value, write, between) + unit
    ends = _value(run, f"{key}/interval")
    if ends is None and if_any:
        return _written(value, write, ", ") + unit
    if ends is None:
        raise ValueError(f"the figure `{key}` has no interval; write `(interval?)`.")
    return f"{_written(value, write, ', ')}{unit} ({_written(ends, write, ' to ')})"


def _value(run: Run, key: str) -> Any:
    """The figure, or None. An interval may stand beside it as KEY/interval, KEY_low and KEY_high,
    or low and high beside a mean; an accuracy of so many test examples has one of itself."""
    base = re.sub(r"/(mean|median)$", "", key.removesuffix("/interval"))
    if key in run or not key.endswith("/interval"):
        return run.get(key)
    if f"{base}/interval" in run:
        return run[f"{base}/interval"]
    for ends in ("{}_low", "{}_high"), ("{}/low", "{}/high"):
        if all(end.format(base) in run for end in ends):
            return [run[end.format(base)] for end in ends]
    examples = run.get(f"{base.removesuffix('accuracy')}examples")
    return list(wilson_interval(run[base], examples)) if examples and base in run else None


def _written(value: Any, write: Callable[[float], str], between: str) -> str:
    if isinstance(value, Mapping):
        return " / ".join(_written(one, write, between) for one in value.values())
    if isinstance(value, list | tuple):
        return between.join(_written(one, write, between) for one in value)
    return write(value) if isinstance(value, int | float) else str(value)


def _format(text: str) -> tuple[Callable[[float], str], str]:
    """The function that writes a number, and the unit that follows the last one."""
    match = _FORMAT.fullmatch(text)
    if match is None:
        raise ValueError(f"the format must be as `,.0f`, `.1%`, `.2r` or `.1f /60`; got {text!r}.")
    digits, kind, sign, by = match.groups()
    write = _KINDS.get(kind, lambda value, digits: f"{value:{digits}{kind}}")

    def number(value: float) -> str:
        if by is not None:
            value = value * float(by) if sign == "*" else value / float(by)
        return write(value, digits)

    return number, " %" if kind == "%" else ""


def _correlation(value: float, digits: str) -> str:
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:{digits}f}")


def _significant(value: float, digits: str) -> str:
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(int(digits[1:]) - 1 - magnitude, 0)}f}"


_KINDS = {
    "%": lambda value, digits: f"{100 * value:{digits}f}",
    "r": _correlation,
    "s": _significant,
}


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0)
    return f"; the nearest is `{near[0]}`." if near else "."
