"""Which hooks of the training loop a method overrides, read from source without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sweeper.models.schema.entries import BASES, Entry
from sweeper.models.schema.sources import Class, source_of


def hooks_of(method: Entry) -> list[str]:
    """Return the hooks that a method's class or one of its bases overrides, in the order of models/method.py."""
    _, module, name = BASES["method"]
    base = source_of(module).class_named(name)
    lineage = method.source.class_named(method.attribute).lineage()
    overridden = {hook for own in lineage if own != base for hook in _functions(own)}
    return [hook for hook in _functions(base) if hook in overridden]


def _functions(own: Class) -> Iterator[str]:
    """Yield the names of a class's own public methods."""
    for node in own.node.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name
