"""Both ways in which a ledger is read."""

from __future__ import annotations

import pytest

from sweeper.ledger import index


@pytest.fixture(autouse=True, params=["read at once", "indexed"])
def reading(request, monkeypatch):
    """Read a ledger as a small one, and by an index however small it is."""
    if request.param == "indexed":
        monkeypatch.setattr(index, "UNINDEXED", 0)
    return request.param
