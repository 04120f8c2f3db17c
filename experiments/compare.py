"""Several runs side by side: writes one page of HTML that needs no network.

    python experiments/compare.py WORKDIR WORKDIR ... [--out=compare.html]

A table with intervals, curves over one another, and the settings that differ. Runs that differ in
their seeds alone also get a mean with its interval. Runs need not have ended. Exit code 2: a folder
holds no run, or the page cannot be written.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nasgen.pipeline.config import UserError


def main(argv: Sequence[str]) -> int:
    """Writes the page; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdirs", nargs="+", type=Path, metavar="WORKDIR")
    parser.add_argument("--out", type=Path, default=Path("compare.html"), help="the page")
    given = parser.parse_args(argv[1:])
    from nasgen.pipeline.page import write_comparison

    try:
        print(f"Written: {write_comparison(given.workdirs, given.out)}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
