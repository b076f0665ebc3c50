"""What can be named in a study (methods, fusions, encoders, datasets), read from source without importing it.

The signature is the schema: hyper-parameters are the keyword-only arguments of a constructor or function, with
their types and defaults. Reading the syntax tree keeps planning free of torch.
"""

from __future__ import annotations

import ast
import hashlib
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from sweeper.models.errors import UserError, choose

HOME = Path(__file__).parent.parent
KINDS = ("method", "fusion", "encoder", "dataset")
GIVEN_BY_CALLER = {"root", "cache"}
REQUIRED = object()


@dataclass(frozen=True)
class Parameter:
    """One hyper-parameter: its type and its default (REQUIRED if it has none)."""

    type: Any
    default: Any

    def admit(self, value: Any, where: str) -> Any:  # noqa: ANN401 - any YAML value
        """Return `value` as this parameter's type; raise UserError in one sentence if it is not admissible."""
        ok, cast = _admit(value, self.type)
        if not ok:
            raise UserError(f"{where} is {value!r}; admissible: {describe(self.type)}")
        return cast


@dataclass(frozen=True)
class Entry:
    """One thing that can be named: where it is defined, its parameters, its docstring, its class-level facts."""

    kind: str
    name: str
    module: str
    attribute: str
    path: Path
    parameters: dict[str, Parameter]
    doc: str
    facts: dict[str, Any]

    def check(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return `options` with types checked; raise UserError for an unknown, ill-typed or missing one."""
        for key in options:
            choose("hyper-parameter", key, self.parameters, f"{self.kind} {self.name!r}")
        for key, parameter in self.parameters.items():
            if parameter.default is REQUIRED and key not in options:
                raise UserError(
                    f"{self.kind} {self.name!r} needs {key!r} ({describe(parameter.type)}); it has no default"
                )
        return {k: self.parameters[k].admit(v, f"{self.kind} {self.name!r}: {k}") for k, v in options.items()}

    def check_modalities(self, modalities: Collection[str], dataset: str) -> None:
        """Raise UserError unless this method, by its fact `modalities`, takes as many as the dataset has."""
        least, most = self.facts.get("modalities", (1, None))
        if not least <= len(modalities) <= (most or len(modalities)):
            bound = f"{least} to {most}" if most else f"at least {least}"
            raise UserError(
                f"{self.kind} {self.name!r} needs {bound} modalities; dataset {dataset!r} has {len(modalities)}"
                f" ({', '.join(modalities)})"
            )

    def check_task(self, task: str, dataset: str) -> None:
        """Raise UserError unless this method, by its fact `tasks`, supports the task that the dataset poses."""
        if task not in self.tasks:
            raise UserError(
                f"{self.kind} {self.name!r} supports {', '.join(self.tasks)}; dataset {dataset!r} poses {task}"
            )

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that a method supports."""
        return self.facts.get("tasks", ("classification",))

    @property
    def locations(self) -> set[str]:
        """The parameters that say where something lies; they are not part of what it is."""
        return {name for name, parameter in self.parameters.items() if parameter.type is Path}

    def defaults(self) -> dict[str, Any]:
        """Return the default of every parameter that has one."""
        return {k: p.default for k, p in self.parameters.items() if p.default is not REQUIRED}

    def load(self) -> Callable[..., Any]:
        """Import the module and return the class or function."""
        return getattr(import_module(self.module), self.attribute)


def entries(kind: str, plugins: tuple[str, ...] = ()) -> dict[str, Entry]:
    """Return every entry of `kind` by name; plugin modules add methods. Raises UserError for a name given twice."""
    found = dict(_own(kind))
    for plugin in plugins if kind == "method" else ():
        entry = _plugin(plugin)
        if entry.name in found:
            raise UserError(
                f"plugin {plugin!r} brings method {entry.name!r}, which exists already; rename its file"
            )
        found[entry.name] = entry
    return found


def entry(kind: str, name: str, plugins: tuple[str, ...] = ()) -> Entry:
    """Return the entry called `name`; raise UserError with the nearest name if there is none."""
    known = entries(kind, plugins)
    return known[choose(kind, name, known)]


@cache
def _own(kind: str) -> dict[str, Entry]:
    if kind == "method":
        files = sorted((HOME / "methods").glob("[a-z]*.py"))
        return {f.stem: _method(f, f"sweeper.models.methods.{f.stem}") for f in files}
    if kind == "dataset":
        found = (_dataset(f) for f in sorted((HOME / "data" / "sources").glob("[a-z]*.py")))
        return {e.name: e for e in found if e}
    source = HOME / {"fusion": "fusions", "encoder": "encoders"}[kind] / "all.py"
    tree = ast.parse(source.read_text())
    module = f"sweeper.models.{source.parent.name}.all"
    if kind == "fusion":
        nodes = [n for n in tree.body if isinstance(n, ast.ClassDef) and _derives(n, "Fusion")]
        return {n.name.lower(): _from_class(kind, n.name.lower(), n, module, source) for n in nodes}
    nodes = [n for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
    return {n.name: _from_function(kind, n.name, n, module, source) for n in nodes}


def _plugin(module: str) -> Entry:
    try:
        found = find_spec(module)
    except ModuleNotFoundError:
        found = None
    if not found or not found.origin or Path(found.origin).suffix != ".py":
        raise UserError(
            f"plugin {module!r} cannot be imported; give a module on PYTHONPATH, like my_package.my_method"
        )
    try:
        return _method(Path(found.origin), module)
    except SyntaxError as error:
        raise UserError(
            f"plugin {module!r} is not valid Python: {error.msg} in line {error.lineno}"
        ) from None


def _method(path: Path, module: str) -> Entry:
    tree = ast.parse(path.read_text())
    nodes = [n for n in tree.body if isinstance(n, ast.ClassDef) and _derives(n, "Method")]
    if len(nodes) != 1:
        raise UserError(
            f"{path.name} defines {len(nodes)} subclasses of Method; a method's file defines exactly one"
        )
    return _from_class("method", path.stem, nodes[0], module, path)


def _dataset(path: Path) -> Entry | None:
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "load":
            entry = _from_function(
                "dataset", path.stem, node, f"sweeper.models.data.sources.{path.stem}", path
            )
            doc = ast.get_docstring(tree) or entry.doc
            return Entry(
                entry.kind, entry.name, entry.module, "load", path, entry.parameters, doc, entry.facts
            )
    return None


def _derives(node: ast.ClassDef, base: str) -> bool:
    return any(ast.unparse(b).split(".")[-1] == base for b in node.bases)


def _from_class(kind: str, name: str, node: ast.ClassDef, module: str, path: Path) -> Entry:
    init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    facts = {}
    for item in node.body:
        target = item.targets[0] if isinstance(item, ast.Assign) else getattr(item, "target", None)
        if isinstance(target, ast.Name) and isinstance(item.value, ast.Constant | ast.Tuple):
            facts[target.id] = ast.literal_eval(item.value)
    parameters = _parameters(init) if init else {}
    return Entry(kind, name, module, node.name, path, parameters, ast.get_docstring(node) or "", facts)


def _from_function(kind: str, name: str, node: ast.FunctionDef, module: str, path: Path) -> Entry:
    return Entry(kind, name, module, node.name, path, _parameters(node), ast.get_docstring(node) or "", {})


def _parameters(node: ast.FunctionDef) -> dict[str, Parameter]:
    found = {}
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if argument.arg in GIVEN_BY_CALLER:
            continue
        kind = eval(ast.unparse(argument.annotation), {"Literal": Literal, "Path": Path})  # our own source
        found[argument.arg] = Parameter(kind, REQUIRED if default is None else ast.literal_eval(default))
    return found


def _admit(value: Any, kind: Any) -> tuple[bool, Any]:  # noqa: ANN401 - any YAML value against any annotation
    origin = get_origin(kind)
    if origin is Literal:
        return any(value == a and type(value) is type(a) for a in get_args(kind)), value
    if origin in (Union, types.UnionType):
        for option in get_args(kind):
            ok, cast = _admit(value, option)
            if ok:
                return True, cast
        return False, value
    if kind is type(None):
        return value is None, value
    if origin in (tuple, list):
        inner = get_args(kind)[0]
        if not isinstance(value, list | tuple):
            return False, value
        parts = [_admit(v, inner) for v in value]
        return all(ok for ok, _ in parts), [cast for _, cast in parts]
    if origin is dict:
        if not isinstance(value, dict):
            return False, value
        parts = {k: _admit(v, get_args(kind)[1]) for k, v in value.items()}
        return all(ok for ok, _ in parts.values()), {k: cast for k, (_, cast) in parts.items()}
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number, float(value) if number else value
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    return isinstance(value, str if kind is Path else kind), value


def describe(kind: Any) -> str:  # noqa: ANN401 - any annotation
    """Return a type annotation in words a user can act on."""
    origin = get_origin(kind)
    if origin is Literal:
        return " | ".join(str(a) for a in get_args(kind))
    if origin in (Union, types.UnionType):
        return " | ".join(describe(a) for a in get_args(kind))
    if kind is type(None):
        return "null"
    if origin in (tuple, list):
        return f"a list of {describe(get_args(kind)[0])}"
    if origin is dict:
        return f"a mapping to {describe(get_args(kind)[1])}"
    return {float: "a number", int: "a whole number", bool: "true | false", str: "text", Path: "a path"}.get(
        kind, str(kind)
    )


def code_digest(used: Iterable[Entry]) -> str:
    """Return a hash of the code that can change a run's result.

    That is all of models/ but the methods and datasets that the run does not use. Syntax trees without
    docstrings are hashed, so comments, layout and documentation change no key.
    """
    used = list(used)
    optional = {e.path for kind in ("method", "dataset") for e in _own(kind).values()}
    paths = {p for p in HOME.rglob("*.py") if p not in optional} | {e.path for e in used}
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda p: (p.parent.name, p.name)):
        digest.update(f"{path.parent.name}/{path.name}:{_file_digest(path)}".encode())
    return digest.hexdigest()[:16]


@cache
def _file_digest(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body[0] = ast.Pass()
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
