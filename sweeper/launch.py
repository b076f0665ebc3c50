"""Run a study: `python sweeper/launch.py [STUDY]`, also as `ray submit CLUSTER.yaml sweeper/launch.py -- STUDY`.

`ray submit` copies this file alone, so it finds the package by itself: as installed, or in SWEEPER_HOME.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path


def find_home() -> Path | None:
    """Return the folder that holds the package: beside this file, SWEEPER_HOME, or nothing."""
    for home in (
        Path(__file__).resolve().parent.parent,
        Path(os.environ.get("SWEEPER_HOME", "/nonexistent")),
    ):
        if (home / "sweeper" / "cli.py").exists():
            return home
    return None


def main() -> int:
    """Run the study named by the first argument, quickstart by default; return only where there is no package."""
    home = find_home()
    if home:
        sys.path.insert(0, str(home))
    elif find_spec("sweeper") is None:
        print(
            "sweeper is not installed for this Python; pip install it, or set SWEEPER_HOME to its folder",
            file=sys.stderr,
        )
        return 2
    from sweeper.cli import program

    arguments = sys.argv[1:]
    study = [] if arguments and not arguments[0].startswith("-") else ["quickstart"]
    program(["run", *study, *arguments])


if __name__ == "__main__":
    sys.exit(main())
