"""The pages build without a warning, the README first, and ask nobody else for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from sweeper import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built pages."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_built_and_the_readme_is_the_first(site):
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {path.relative_to(site) for path in site.rglob("*.html")} >= pages
    front = (site / "index.html").read_text()
    assert "make sweep" in front
    assert all(f'href="{page}"' in front for page in pages), "a page is not in the navigation"


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    for path in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*?(?:src|href)=\"?([^\" >]+)", path.read_text())
        assert loaded
        assert not [uri for uri in loaded if re.match(r"(https?:)?//", uri)], path.name
