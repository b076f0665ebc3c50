"""The bridge to models/: names that stand elsewhere, and nothing of its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from sweeper import ROOT, bridge

TREE = ast.parse(Path(bridge.__file__).read_text())


def test_it_only_passes_names_on():
    doc, *rest = TREE.body
    assert ast.get_docstring(TREE) == doc.value.value
    *imports, names = rest
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    assert {node.module.split(".")[:2] == ["sweeper", "models"] for node in imports} == {True}
    imported = [alias.asname or alias.name for node in imports for alias in node.names]
    assert ast.unparse(names.targets[0]) == "__all__"
    assert sorted(ast.literal_eval(names.value)) == sorted(imported)


def used_in(path: Path) -> set[str]:
    """Return the names that a file takes from the bridge."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "bridge":
            found.add(node.attr)
        if isinstance(node, ast.ImportFrom) and node.module == "sweeper.bridge":
            found |= {alias.name for alias in node.names}
    return found


def test_every_name_that_it_passes_on_is_used():
    used = set().union(*map(used_in, (ROOT / "sweeper").rglob("*.py")))
    assert set(bridge.__all__) - used == set()


def test_importing_it_imports_no_torch():
    code = "import sys, sweeper.bridge; print(sorted({'torch', 'ray', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
