"""Who may import what, read from the syntax trees, and what importing may not do."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sweeper import ROOT
from sweeper.models.schema.entries import entries

LONGEST_FILE, LONGEST_FUNCTION = 350, 50  # lines
COMMON = {"sweeper.models.errors", "sweeper.models.memory"}
DATA = "sweeper.models.data"

# floors of models/, lowest first: a module imports from its own floor or below
FLOORS = [
    {"errors", "streams", "values", "parallel", "memory", "atomic", "schema", "pretrained"},
    {"maths"},
    {"data"},
    {"tasks"},
    {"encoders", "fusions"},
    {"net"},
    {"method"},
    {"methods"},
    {"training"},
]
# rooms of the service, lowest first
ROOMS = [
    {"bridge"},
    {"study"},
    {"ledger"},
    {"planning"},
    {"reports", "running"},
    {"tracking"},
    {"service"},
    {"api", "commands"},
    {"cli", "launch"},
]


def sources(folder: str) -> dict[str, Path]:
    """Return every module below a folder by its import name."""
    prefix = "" if folder == "sweeper" else "sweeper."
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[prefix + ".".join(p for p in parts if p != "__init__")] = path
    return found


MODELS, SERVICE = sources("models"), sources("sweeper")
SOURCES = MODELS | SERVICE


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


def own(names: set[str], within: dict[str, Path]) -> set[str]:
    """Return the modules of the project among imported names."""
    return {name for name in names if name in within}


def importers(library: str) -> set[str]:
    return {
        module
        for module, path in SOURCES.items()
        if any(i == library or i.startswith(f"{library}.") for i in imports(path))
    }


@pytest.mark.parametrize(
    ("library", "only"),
    [
        ("ray.tune", {"sweeper.running.tune"}),
        ("ray.train", {"sweeper.running.ranks"}),
        ("mlflow", {f"sweeper.tracking.{name}" for name in ("connection", "server", "writing")}),
        ("optuna", {"sweeper.planning.proposals", "sweeper.reports.searches"}),
        (
            "matplotlib",
            {
                f"sweeper.reports.plots.{name}"
                for name in ("clouds", "comparisons", "densities", "fronts", "heatmaps", "lines", "tables")
            },
        ),
    ],
)
def test_a_library_of_the_service_has_one_user(library, only):
    assert importers(library) == only


def test_the_service_knows_models_by_the_bridge_alone():
    """But for the words in which errors are told, and a process's memory: they are everybody's."""
    users = {m for m, path in SERVICE.items() if own(imports(path), MODELS) - COMMON}
    assert users == {"sweeper.bridge"}


def test_models_know_nothing_of_the_service():
    for module, path in MODELS.items():
        for name in imports(path):
            assert name.split(".")[0] not in {"ray", "mlflow", "optuna"}, module
            assert not name.startswith("sweeper.") or name.startswith("sweeper.models"), f"{module}: {name}"


def place(module: str, levels: list[set[str]], depth: int) -> int | None:
    """Return the level of a module's room, by the part of its name at `depth`."""
    room = module.split(".")[depth]
    return next((i for i, level in enumerate(levels) if room in level), None)


@pytest.mark.parametrize(
    ("within", "levels", "depth"), [(MODELS, FLOORS, 2), (SERVICE, ROOMS, 1)], ids=["models", "sweeper"]
)
def test_no_room_imports_one_above_it(within, levels, depth):
    for module, path in within.items():
        if module.count(".") < depth:
            continue
        level = place(module, levels, depth)
        assert level is not None, f"{module} stands on no floor"
        for name in own(imports(path), within):
            if name.count(".") >= depth:
                assert place(name, levels, depth) <= level, f"{module} imports {name}"


def test_data_need_no_torch_but_to_feed_and_to_augment():
    for module, path in MODELS.items():
        torches = module == f"{DATA}.feed" or module.startswith(f"{DATA}.augment.")
        if module.startswith(f"{DATA}.") and not torches:
            assert "torch" not in {i.split(".")[0] for i in imports(path)}, module


def test_no_method_imports_another_and_all_are_reached_through_the_registry():
    assert importers("sweeper.models.methods") == set()


def test_no_shared_module_names_a_method():
    protocol = {"qmf"}  # of noise, published with the method of that name
    for module, path in SOURCES.items():
        if module.startswith("sweeper.models.methods."):
            continue
        methods = set(entries("method")) - (protocol if ".noise." in module else set())
        tree = ast.parse(path.read_text())
        said = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        assert not said & methods, f"{module} names {said & methods}"


def test_there_is_no_circle_of_imports():
    # what the package itself offers is imported when it is asked for
    edges = {m: own(imports(path, at_import=m == "sweeper"), SOURCES) for m, path in SOURCES.items()}

    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        return any(
            n == goal or (n not in seen and not seen.add(n) and reaches(n, goal, seen))
            for n in edges.get(start, ())
        )

    assert [name for name in edges if reaches(name, name, set())] == []


def test_no_file_is_too_long_to_hold_in_the_head():
    long = {m: n for m, path in SOURCES.items() if (n := len(path.read_text().splitlines())) > LONGEST_FILE}
    assert long == {}


def body(function: ast.FunctionDef) -> int:
    """Return the lines of a function without its signature and docstring."""
    statements = function.body[ast.get_docstring(function) is not None :]
    return function.end_lineno - statements[0].lineno + 1 if statements else 0


def test_no_function_is_too_long_to_hold_in_the_head():
    long = {
        f"{module}.{node.name}": body(node)
        for module, path in SOURCES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and body(node) > LONGEST_FUNCTION
    }
    assert long == {}


def test_every_package_is_installed():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    packages = {m for m, path in SOURCES.items() if path.name == "__init__.py"}
    data = {"sweeper." + str(p.relative_to(ROOT)).replace("/", ".") for p in folders_of_data()}
    assert set(told) == packages | data


def folders_of_data() -> set[Path]:
    return {path.parent for path in (ROOT / "search_spaces").rglob("*.yaml")}


@pytest.mark.parametrize(
    "command",
    [
        ["plan", "quickstart"],
        ["plan", "quickstart", "--json"],
        ["methods"],
        ["methods", "lfm"],
        ["datasets", "mvsa_single"],
        ["conditions", "gaussian"],
        ["metrics"],
        ["status"],
    ],
)
def test_planning_is_light(command, tmp_path):
    code = (
        "import sys; from sweeper.cli import main\n"
        f"code = main({[*command, '--storage', str(tmp_path)]!r})\n"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'sklearn', 'transformers', 'librosa', 'matplotlib'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: [] 0"


def test_importing_changes_nothing_but_ray_defaults():
    code = (
        "import os, signal, warnings\n"
        "before = os.getcwd(), signal.getsignal(signal.SIGINT), list(warnings.filters)\n"
        "import sweeper.models.training.trainer, sweeper.models.training.build\n"
        "import sweeper.cli, sweeper.service.run, sweeper.service.gc, sweeper.tracking.writing\n"
        "assert before[:2] == (os.getcwd(), signal.getsignal(signal.SIGINT))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
