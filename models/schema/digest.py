"""A hash of the code that can change a run's result: the trainer, the parts it names, and what all these import."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache

from sweeper.models.schema.entries import Entry
from sweeper.models.schema.sources import Source, source_of, statements_in

TRAINER = "sweeper.models.training.run"


def code_digest(used: Iterable[Entry]) -> str:
    """Return the hash of the code of runs that use these parts.

    It follows imports through models/ and the researcher's own modules. Syntax trees without docstrings are hashed,
    so comments, layout and documentation change nothing, and neither do modules that are not reached.
    """
    trainer = source_of(TRAINER)
    return digest_of(closure([*([trainer] if trainer else []), *(entry.source for entry in used)]))


def digest_of(reached: Mapping[str, Source]) -> str:
    """Return the hash of the code of modules {name: source}."""
    digest = hashlib.sha256()
    for module in sorted(reached):
        digest.update(f"{module}:{_digest(reached[module])}".encode())
    return digest.hexdigest()[:16]


def closure(roots: Iterable[Source]) -> dict[str, Source]:
    """Return the modules {name: source} that importing the roots reaches, their packages included."""
    found: dict[str, Source] = {}
    waiting = list(roots)
    while waiting:
        source = waiting.pop()
        if source.module in found:
            continue
        found[source.module] = source
        waiting += _needed(source)
    return found


@cache
def _needed(source: Source) -> tuple[Source, ...]:
    """Return the modules that importing one imports: those that it names, and the packages that it lies in."""
    parts = source.module.split(".")
    packages = (".".join(parts[:n]) for n in range(1, len(parts)))
    found = (source_of(module, source.package) for module in {*source.imports, *packages})
    return tuple(other for other in found if other)


@cache
def _digest(source: Source) -> str:
    tree = ast.parse(source.path.read_text())  # anew, since it is changed
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node, clean=False):
            node.body[0] = ast.Pass()
        waiting += statements_in(node)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
