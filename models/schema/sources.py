"""Python modules read, not imported: their classes and bases, aliases and constants, and what they import.

So planning stays free of torch, and a digest can follow imports without making them.
"""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ForwardRef, Literal, get_args, get_origin

from sweeper.models.errors import UserError, one_line

HOME = Path(__file__).resolve().parents[1]
OWN = "sweeper.models"
# what an annotation or a default may take from elsewhere; importing these is cheap
LIGHT = {"typing", "types", "pathlib", "collections", "math", "annotated_types", "pydantic"}
# the builtins that they may use
PLAIN = {
    own.__name__: own
    for own in (
        *(bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, type, object),
        *(abs, len, max, min, range, round, sorted, sum),
    )
}
STDLIB, INSTALLED = sysconfig.get_paths()["stdlib"], {"site-packages", "dist-packages"}


@dataclass(frozen=True, eq=False)
class Source:
    """One module: its import name, its file, its syntax tree."""

    module: str
    path: Path

    @property
    def package(self) -> str:
        """The package at the top that it belongs to."""
        return self.module.split(".")[0]

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree; raises UserError for a file that is not Python."""
        try:
            return ast.parse(self.path.read_text())
        except SyntaxError as error:
            raise UserError(
                f"module {self.module!r} is not valid Python: {error.msg} in line {error.lineno}"
            ) from None

    def at(self, node: ast.AST) -> str:
        """Return where a node of it stands, in words: its module, file and line."""
        return f"module {self.module!r} ({self.path}:{getattr(node, 'lineno', 1)})"

    @cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        """The top-level statements by the names that they define; of two branches of one, the first counts."""
        return self._defined(self.tree.body)

    def _defined(self, body: list[ast.stmt]) -> dict[str, ast.stmt]:
        found: dict[str, ast.stmt] = {}
        for node in body:
            if isinstance(node, ast.If | ast.Try):
                handled = [stmt for handler in getattr(node, "handlers", ()) for stmt in handler.body]
                found |= self._defined([*node.orelse, *handled]) | self._defined(node.body)
            elif isinstance(node, ast.ClassDef | ast.FunctionDef):
                found[node.name] = node
            elif isinstance(node, ast.Import | ast.ImportFrom):
                found |= {(a.asname or a.name).split(".")[0]: node for a in node.names}
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {t.id: node for t in targets if isinstance(t, ast.Name)}
        return found

    def classes(self) -> Iterator[Class]:
        """Yield the classes that the module defines, in order."""
        yield from (Class(self, node) for node in self.tree.body if isinstance(node, ast.ClassDef))

    def class_named(self, name: str) -> Class | None:
        """Return the class that a name, dotted or not, means here, followed through imports; None if none of ours."""
        *place, name = name.split(".")
        if place:
            source = self._module_named(*place)
            return source.class_named(name) if source else None
        node = self.definitions.get(name)
        if isinstance(node, ast.ClassDef):
            return Class(self, node)
        if isinstance(node, ast.ImportFrom):
            source, original = self._imported(node, name)
            return source.class_named(original) if source else None
        return None

    def value(self, node: ast.expr, nearer: Mapping[str, ast.expr] | None = None) -> Any:  # noqa: ANN401 - any
        """Return what an annotation, a default or a class attribute says; raise UserError if only running can tell.

        It is computed from literals and names, `nearer` ones before those of the module; no code of the module runs.
        """
        names = _Names(self, nearer or {})
        try:
            _check_plain(node, names)
            return eval(compile(ast.Expression(node), str(self.path), "eval"), {"__builtins__": PLAIN}, names)
        except UserError:
            raise
        except Exception as error:  # whatever evaluating raises
            raise UserError(
                f"{self.at(node)}: {ast.unparse(node)!r} cannot be read without running the module ({one_line(error)});"
                " write types and defaults as literals, simple arithmetic, or names of types and constants"
            ) from None

    def annotation(self, node: ast.expr) -> Any:  # noqa: ANN401 - any type
        """Return the type that an annotation says, quoted or not; raises as `value`, and for quotes within it."""
        found = self.value(node)
        while isinstance(found, str):
            found = self.value(_expression(found, node, self))
        if _quoted(found):
            raise UserError(
                f"{self.at(node)}: type {ast.unparse(node)} has quotes within it; write it without"
            )
        return found

    def named(self, name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
        """Return the value of a name at the module's top level."""
        node = self.definitions.get(name)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            return self.value(node.value)
        if isinstance(node, ast.ImportFrom):
            source, original = self._imported(node, name)
            if source:
                return source.named(original)
            if node.module and node.module.split(".")[0] in LIGHT:
                return getattr(import_module(node.module), original)
        if isinstance(node, ast.Import):
            meant = next((a.name for a in node.names if a.asname == name), name)
            if meant.split(".")[0] in LIGHT:
                return import_module(meant)
        raise KeyError(name)

    def _module_named(self, name: str, *inner: str) -> Source | None:
        """Return the module that an imported name and the names behind its dots mean."""
        node = self.definitions.get(name)
        if isinstance(node, ast.ImportFrom):
            original = next(a.name for a in node.names if (a.asname or a.name) == name)
            name = f"{_absolute(self, node)}.{original}"
        elif isinstance(node, ast.Import):
            name = next((a.name for a in node.names if a.asname == name), name)
        return source_of(".".join([name, *inner]), self.package) if node else None

    def _imported(self, node: ast.ImportFrom, name: str) -> tuple[Source | None, str]:
        """Return the module that a name is imported from, None for a library, and its name there."""
        original = next(a.name for a in node.names if (a.asname or a.name) == name)
        return source_of(_absolute(self, node), self.package), original

    @cached_property
    def imports(self) -> frozenset[str]:
        """The modules that it imports, anywhere but for type checking, as far as names tell."""
        found: set[str] = set()
        waiting: list[ast.AST] = [self.tree]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Import):
                found.update(a.name for a in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = _absolute(self, node)
                found.update([base, *(f"{base}.{a.name}" for a in node.names)])
            waiting += node.orelse if _is_for_type_checking(node) else statements_in(node)
        return frozenset(found)


@dataclass(frozen=True)
class Class:
    """A class as its module writes it down."""

    source: Source
    node: ast.ClassDef

    @property
    def name(self) -> str:
        """The class's name."""
        return self.node.name

    def lineage(self) -> list[Class]:
        """Return the class and the classes it derives from, as far as they are read, in the order of Python."""
        found = [self]
        for base in self.node.bases:
            parent = self.source.class_named(ast.unparse(base))
            further = parent.lineage() if parent else []
            found = [c for c in found if c not in further] + further  # a base of two stands behind both
        return found

    def is_a(self, module: str, name: str) -> bool:
        """Say whether it derives from the class of that name and module, and is not that class."""
        return any((c.source.module, c.name) == (module, name) for c in self.lineage()[1:])

    def attributes(self) -> dict[str, ast.expr]:
        """Return the values of its own class attributes."""
        found = {}
        for node in self.node.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name):
                    found[target.id] = node.value
        return found

    def constructor(self) -> ast.FunctionDef | None:
        """Return its own `__init__`."""
        return next(
            (n for n in self.node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None
        )


class _Names(Mapping[str, Any]):
    """The names of a module, as its expressions see them, a class's own before; Python's own come after both."""

    def __init__(self, source: Source, nearer: Mapping[str, ast.expr]) -> None:
        self.source, self.nearer = source, nearer

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
        if name in self.nearer:
            return self.source.value(self.nearer[name])
        return self.source.named(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.source.definitions)

    def __len__(self) -> int:
        return len(self.source.definitions)


def _expression(text: str, node: ast.expr, source: Source) -> ast.expr:
    """Return the expression that a quoted annotation holds."""
    try:
        return ast.copy_location(ast.parse(text, mode="eval").body, node)
    except SyntaxError:
        raise UserError(f"{source.at(node)}: {text!r} is no type") from None


def _quoted(kind: object) -> bool:
    """Say whether a type holds names that are yet to be looked up."""
    literal = get_origin(kind) is Literal
    return isinstance(kind, ForwardRef) or (not literal and any(map(_quoted, get_args(kind))))


def _check_plain(node: ast.expr, names: Mapping[str, Any]) -> None:
    """Raise ValueError for an expression that could do more than give a value."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and inner.attr.startswith("_"):
            raise ValueError(f"it uses {inner.attr!r}")
        if isinstance(inner, ast.Call) and not _gives_a_value(inner.func, names):
            raise ValueError(f"it calls {ast.unparse(inner.func)}")


def _gives_a_value(called: ast.expr, names: Mapping[str, Any]) -> bool:
    """Say whether calling it does no more: a function of PLAIN or math, or a class that annotations are made of."""
    place, *inner = ast.unparse(called).split(".") if isinstance(called, ast.Name | ast.Attribute) else [""]
    if not all(map(str.isidentifier, (place, *inner))):
        return False
    try:
        found = names[place]
    except KeyError:
        return place in PLAIN and place != "type" and not inner
    for name in inner:
        found = getattr(found, name)
    home = (getattr(found, "__module__", None) or "").split(".")[0]
    return home == "math" or (home in LIGHT and (isinstance(found, type) or found.__name__ == "Field"))


def statements_in(node: ast.AST) -> list[ast.AST]:
    """Return the statements right below a node; what stands between them and it, such as a handler, is one of them."""
    inner = (ast.stmt, ast.excepthandler, ast.match_case)
    return [child for child in ast.iter_child_nodes(node) if isinstance(child, inner)]


def _is_for_type_checking(node: ast.AST) -> bool:
    test = node.test if isinstance(node, ast.If) else None
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


def source_of(module: str, own_package: str = "") -> Source | None:
    """Return a module as a source: one of models/ or of the researcher's own code; None for libraries and strangers.

    Own code lies neither in the standard library nor among installed packages, or belongs to `own_package`. Nothing
    is imported to find it.
    """
    if module == OWN or module.startswith(f"{OWN}."):
        return _file(module, HOME.joinpath(*module.split(".")[2:]))
    package, *inner = module.split(".")
    if package == "sweeper" or not all(map(str.isidentifier, (package, *inner))):
        return None
    for place in _places(package):
        installed = place.is_relative_to(STDLIB) or INSTALLED & set(place.parts)
        if package == own_package or not installed:
            found = _file(module, place.joinpath(*inner))
            if found:
                return found
    return None


def _file(module: str, place: Path) -> Source | None:
    """Return the module at `place`, which is a file without its ending or a package's folder."""
    paths = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((_source(module, path) for path in paths if path.is_file()), None)


@cache
def _places(package: str) -> tuple[Path, ...]:
    """Return where a top-level package or module lies, as `_file` wants it."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return ()
    if spec.submodule_search_locations:
        return tuple(map(Path, spec.submodule_search_locations))
    return (Path(spec.origin).with_suffix(""),) if spec.origin and spec.origin.endswith(".py") else ()


@cache
def _source(module: str, path: Path) -> Source:
    return Source(module, path)


def _absolute(source: Source, node: ast.ImportFrom) -> str:
    """Return the module that an import names, relative ones resolved."""
    if not node.level:
        return node.module or ""
    package = source.module.split(".")
    up = node.level - (source.path.name == "__init__.py")
    return ".".join([*package[: len(package) - up], *filter(None, [node.module])])
