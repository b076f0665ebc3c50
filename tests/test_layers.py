"""Who may import what, read from the syntax trees, and what importing may not do."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from models.registry import entries

HOME = Path(__file__).resolve().parents[1]
SOURCES = sorted([*HOME.glob("models/**/*.py"), *HOME.glob("sweeper/*.py")])
SERVICE = sorted(HOME.glob("sweeper/*.py"))

# floors of models/, lowest first; a module imports only from its own floor or below, data stands beside
FLOORS = [
    {"errors", "streams", "values", "checkpoint", "parallel", "registry"},
    {"settings", "metrics", "tasks", "optimizers"},
    {"encoders", "fusion", "evidence", "gaussian", "gradients", "hypergradient", "matching", "regressors"}
    | {"reliability", "schedules"},
    {"net"},
    {"method"},
    {"methods"},
    {"evaluation", "build"},
    {"trainer", "conditions"},
]


def imports(path: Path, *, at_import: bool = False) -> set[str]:
    """Return the modules a file imports; with `at_import` only those that importing the file imports."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                found.update({child.module, *(f"{child.module}.{alias.name}" for alias in child.names)})
            lazy = isinstance(child, ast.FunctionDef) or (
                isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
            )
            if not (at_import and lazy):
                visit(child)

    visit(tree)
    return {name for name in found if name}


def names(path: Path) -> str:
    return str(path.relative_to(HOME))


def importers(library: str) -> set[str]:
    return {names(p) for p in SOURCES if any(i == library or i.startswith(f"{library}.") for i in imports(p))}


@pytest.mark.parametrize(
    ("library", "only"),
    [
        ("ray.tune", {"sweeper/executor.py"}),
        ("ray.train", {"sweeper/distributed.py"}),
        ("mlflow", {"sweeper/tracking.py"}),
        ("optuna", {"sweeper/proposals.py"}),
    ],
)
def test_a_library_of_the_service_has_one_user(library, only):
    assert importers(library) == only


def test_only_the_bridge_knows_models():
    users = {names(p) for p in SERVICE if any(i.split(".")[0] == "models" for i in imports(p))}
    assert users == {"sweeper/bridge.py"}


def test_models_know_nothing_of_the_service():
    for path in HOME.glob("models/**/*.py"):
        roots = {i.split(".")[0] for i in imports(path)}
        assert not roots & {"ray", "mlflow", "optuna", "sweeper", "search_spaces", "pydantic"}, names(path)


def floor(module: str) -> int | None:
    return next((i for i, level in enumerate(FLOORS) if module in level), None)


def test_no_floor_of_models_imports_a_higher_one():
    for path in HOME.glob("models/*.py"):
        if path.stem == "__init__":
            continue
        own = floor(path.stem)
        assert own is not None, f"{path.stem} stands on no floor of FLOORS"
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "models" and len(parts) > 1 and (there := floor(parts[1])) is not None:
                assert there <= own, f"{path.stem} imports {name}"


def test_data_stand_beside_and_need_no_torch():
    for path in HOME.glob("models/data/*.py"):
        if path.stem != "feed":
            assert "torch" not in {i.split(".")[0] for i in imports(path)}, names(path)
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "models" and len(parts) > 1 and parts[1] != "data":
                assert parts[1] in FLOORS[0], f"{names(path)} imports {name}"


def test_no_method_imports_another():
    for path in HOME.glob("models/methods/*.py"):
        assert not any(i.startswith("models.methods") for i in imports(path)), names(path)


def test_methods_are_reached_through_the_registry_only():
    users = {names(p) for p in SOURCES if any(i.startswith("models.methods") for i in imports(p))}
    assert users == set()


def test_no_shared_module_names_a_method():
    methods = set(entries("method"))
    for path in SOURCES:
        if path.parent.name == "methods":
            continue
        tree = ast.parse(path.read_text())
        said = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        assert not said & methods, f"{names(path)} names {said & methods}"


def test_there_is_no_circle_of_imports_in_the_service():
    edges = {
        p.stem: {i.split(".")[1] for i in imports(p) if i.startswith("sweeper.") and i.count(".") == 1}
        for p in SERVICE
    }

    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        return any(
            n == goal or (n not in seen and not seen.add(n) and reaches(n, goal, seen))
            for n in edges.get(start, ())
        )

    assert [name for name in edges if reaches(name, name, set())] == []


@pytest.mark.parametrize("command", [["plan", "quickstart"], ["methods"], ["status"]])
def test_planning_is_light(command, tmp_path):
    code = (
        "import sys; from sweeper.cli import main\n"
        f"code = main({[*command, '--storage', str(tmp_path)]!r})\n"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'sklearn', 'transformers', 'librosa', 'matplotlib'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HOME, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: [] 0"


def test_importing_changes_nothing_but_ray_defaults():
    code = (
        "import os, signal, warnings\n"
        "before = os.getcwd(), signal.getsignal(signal.SIGINT), list(warnings.filters)\n"
        "import models.trainer, models.build, sweeper.cli, sweeper.service, sweeper.tracking\n"
        "assert before[:2] == (os.getcwd(), signal.getsignal(signal.SIGINT))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=HOME, check=True)
