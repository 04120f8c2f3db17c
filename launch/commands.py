"""What the launchers share: the command of every process of a run, and how commands are shown.

A launcher is a list of commands made by pure functions from its flags, and a loop that runs them.
`--dry_run` prints them, quoted for a shell, and starts nothing.
"""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from typing import NoReturn

RUN = "experiments/run.py"
# Exit codes of `RUN` after which another try would end no other way: done, a defect, bad input.
FINAL = (0, 1, 2)


class Parser(argparse.ArgumentParser):
    """Flags before `--`, arguments of `RUN` after it. Bad input is one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")

    def split(
        self, argv: Sequence[str], *, runs: bool = True
    ) -> tuple[argparse.Namespace, list[str]]:
        """The flags, and the arguments of `RUN`, which must name a config and a workdir where
        anything is to run."""
        own, rest = list(argv), []
        if "--" in own:
            place = own.index("--")
            own, rest = own[:place], own[place + 1 :]
        flags = self.parse_args(own)
        for name in ("config", "workdir") if runs else ():
            if not any(one.lstrip("-").split("=")[0] == name for one in rest if one[:1] == "-"):
                self.error(f"`--{name}` must be given behind ` -- `, as {RUN} takes it")
        return flags, rest


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], *, python: str, script: str = RUN
) -> list[str]:
    """The command of one process: the environment that tells it its place, then `RUN`."""
    pairs = [f"{name}={value}" for name, value in environment.items()]
    return ["env", *pairs, python, script, *arguments]


def shown(commands: Sequence[Sequence[str]]) -> str:
    """A line each, as a shell would take them."""
    return "\n".join(shlex.join(one) for one in commands)


def whole(text: str) -> int:
    """A flag's value that counts something: a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it must be a whole number of at least 1; got {text!r}")
    return int(text)
