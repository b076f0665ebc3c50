"""What README and docs lead to is there."""

from __future__ import annotations

from urllib.parse import urlparse

import pytest

from sweeper import ROOT
from tests.docs.pages import PAGES, anchors, links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_the_project_lead_to_a_page_and_a_heading(page):
    lost = []
    for link in links(page):
        uri = urlparse(link)
        if uri.scheme:
            assert uri.scheme == "https", f"{link} is not encrypted"
            continue
        target = (page.parent / uri.path).resolve() if uri.path else page
        there = target.is_file() and target.is_relative_to(ROOT)
        if not there or (uri.fragment and uri.fragment not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_links_are_found_at_all():
    assert "docs/studies.md" in links(ROOT / "README.md")
    assert "other-hardware" in anchors(ROOT / "docs" / "sharing.md")
