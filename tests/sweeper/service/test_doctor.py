"""`sweeper doctor` says that versions are those pinned only where they are."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from sweeper.service import doctor

NUMPY = version("numpy").split("+")[0]


@pytest.mark.parametrize(
    ("pinned", "told"),
    [
        (f"numpy=={NUMPY}", [(True, "what is installed has the versions of constraints.txt")]),
        ("numpy==0.1", [(False, f"numpy {NUMPY} is installed, 0.1 is pinned in constraints.txt")]),
        ("no-such-thing==1.0", [(False, "no-such-thing is not installed")]),
    ],
)
def test_versions(tmp_path, monkeypatch, pinned, told):
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(f"# pinned\n{pinned}\n")
    monkeypatch.setattr(doctor, "CONSTRAINTS", constraints)
    assert list(doctor._versions()) == told
