"""What mkdocs does beside building pages: the README is the first of them, and none is left out of the navigation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

README = Path(__file__).parents[1] / "README.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as front page, its links as seen from docs/, and pages that the navigation does not name."""
    text = re.sub(r"\]\(docs/", "](", README.read_text())
    files.append(File.generated(config, "index.md", content=text))
    named = set(_named(config.nav))
    config.nav += [page.src_uri for page in files.documentation_pages() if page.src_uri not in named]
    return files


def _named(nav: Any) -> list[str]:  # noqa: ANN401 - mkdocs' own: lists of {title: page or list}
    if isinstance(nav, dict):
        nav = list(nav.values())
    return [nav] if isinstance(nav, str) else [page for part in nav for page in _named(part)]
