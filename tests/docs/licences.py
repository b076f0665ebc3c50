"""The tables of docs/licences.md, from the packages' own metadata and the datasets' files.

`python -m tests.docs.licences` writes them anew.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageMetadata, metadata

from sweeper import ROOT, bridge

PAGE = ROOT / "docs" / "licences.md"
NAMED_AT_MOST = 60  # characters; what is longer is a licence's text


def packages() -> dict[str, str]:
    """Return {package: what installs it} of the direct dependencies."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = dict.fromkeys(map(_name, told["dependencies"]), "always")
    for extra, needed in told["optional-dependencies"].items():
        for name in map(_name, needed):
            found[name] = f"{found[name]}, {extra}" if name in found else extra
    return dict(sorted(found.items(), key=lambda one: one[0].lower()))


def licence(about: PackageMetadata) -> str:
    """Return the licence that a package's metadata state: an expression, else a classifier, else a short name."""
    classifiers = [
        text for text in about.get_all("Classifier", []) if text.startswith("License :: OSI Approved ::")
    ]
    named = (about.get("License") or "").strip()
    short = named if "\n" not in named and len(named) <= NAMED_AT_MOST else ""
    found = (
        about.get("License-Expression") or ", ".join(text.split(" :: ")[-1] for text in classifiers) or short
    )
    if not found:
        raise ValueError(f"{about.get('Name')} states no licence")
    return found


def written(page: str) -> str:
    """Return the page with its tables made anew."""
    rows = [(f"`{name}`", licence(metadata(name)), extra) for name, extra in packages().items()]
    page = _with_table(page, "Packages", ("package", "licence", "installed"), rows)
    published = {name: bridge.published(name) for name in bridge.entries("dataset")}
    rows = [(f"`{name}`", about.licence) for name, about in published.items() if about]
    return _with_table(page, "Datasets", ("dataset", "licence, or what its makers say"), rows)


def _with_table(page: str, heading: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return the page with another first table below a heading."""
    lines = [f"| {' | '.join(row)} |" for row in (head, (":---",) * len(head), *rows)]
    table = re.compile(rf"(## {heading}\n\n(?:[^|#\n][^\n]*\n|\n)*)(?:\|[^\n]*\n)+")
    found, n = table.subn(lambda match: match[1] + "\n".join(lines) + "\n", page)
    if n != 1:
        raise ValueError(f"docs/licences.md has no table below {heading!r}")
    return found


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
