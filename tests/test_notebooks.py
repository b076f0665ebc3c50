"""The notebooks of docs/ run as they stand, and what they hold is what came out."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbclient import NotebookClient

from sweeper import ROOT

NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
PLACES = re.compile(r"/(home|root|tmp|work|Users)/")


def shown(notebook) -> list[list[str]]:
    """Return the kinds of output of every code cell, progress left out."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        sorted(kind for output in cell.outputs for kind in output.get("data", {}))
        + [output.name for output in cell.outputs if output.get("name") == "stdout"]
        for cell in cells
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_what_came_out_and_no_place_of_its_machine(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    assert any("image/png" in kinds for kinds in shown(notebook))
    assert not PLACES.search(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    for name in ("SWEEPER_DATA", "SWEEPER_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    before = shown(notebook)
    (tmp_path / "here").mkdir()
    place = {"metadata": {"path": str(tmp_path / "here")}}
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources=place, coalesce_streams=True
    ).execute()
    assert shown(notebook) == before
