"""What can be named in a study (methods, fusions, encoders, datasets, …), read from source without importing it.

The signature is the schema: hyper-parameters are the keyword-only arguments of a class or of a dataset's `load`, with
their types, ranges and defaults. A class is named by its own name in snake case, a dataset by its file. A class has
the attributes of its bases, and their hyper-parameters where its constructor passes `**options` on.

What another module brings is recognised in the same way, whatever folder it lies in: a subclass of a kind's base, and
functions `load` and `files` for a dataset. Its full name is that of its module, a dot, and its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from typing import Any

from sweeper.models.errors import Misfit, UserError, choose
from sweeper.models.schema import sources
from sweeper.models.schema.parameters import REQUIRED, Parameter
from sweeper.models.schema.sources import OWN, Class, Source, source_of

# the folder of each kind of class, and the module and name of the class that all of it derive from
BASES: dict[str, tuple[str, str, str]] = {
    "method": ("methods", f"{OWN}.method", "Method"),
    "fusion": ("fusions", f"{OWN}.fusions.base", "Fusion"),
    "encoder": ("encoders", f"{OWN}.encoders.base", "Encoder"),
    "task": ("tasks", f"{OWN}.tasks.base", "Task"),
    "augmentation": ("data.augment", f"{OWN}.data.augment.base", "Augmentation"),
    "reader": ("data.readers", f"{OWN}.data.readers.base", "Reader"),
}
KINDS = (*BASES, "dataset")
# kinds whose own are tables (maths/metrics.py, data/noise/corruptions.py), to which other modules add subclasses
ADDED: dict[str, tuple[str, str]] = {
    "metric": (f"{OWN}.maths.metric", "Metric"),
    "condition": (f"{OWN}.data.noise.base", "Noise"),
}
# what other modules may bring; tasks are the project's own, since losses, metrics and fusions know them by name
OPEN: dict[str, tuple[str, str]] = {kind: base[1:] for kind, base in BASES.items() if kind != "task"} | ADDED
# keyword-only arguments that the caller gives, not a study
GIVEN: dict[str, frozenset[str]] = {
    "fusion": frozenset({"size", "stages"}),
    "dataset": frozenset({"root", "cache"}),
}


@dataclass(frozen=True)
class Entry:
    """One thing that can be named: where it is, its hyper-parameters, docstring and class attributes (`facts`).

    `given` are the keyword-only arguments that whoever builds it supplies.
    """

    kind: str
    name: str
    source: Source
    attribute: str
    parameters: dict[str, Parameter]
    given: frozenset[str]
    doc: str
    facts: dict[str, Any]

    @property
    def full(self) -> str:
        """The name that is enough to find it: its own, behind that of its module if that is not of the project."""
        own = self.source.module.startswith(f"{OWN}.")
        return self.name if own else f"{self.source.module}.{self.name}"

    def check(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return `options` with types and ranges checked; raise UserError for one unknown, unfit or missing."""
        for key in options:
            choose("hyper-parameter", key, self.parameters, f"{self.kind} {self.name!r}")
        for key, parameter in self.parameters.items():
            if parameter.default is REQUIRED and key not in options:
                raise UserError(
                    f"{self.kind} {self.name!r} needs {key!r} ({parameter.admissible}); it has no default"
                )
        return {k: self.parameters[k].admit(v, f"{self.kind} {self.name!r}: {k}") for k, v in options.items()}

    def check_modalities(self, modalities: Collection[str], dataset: str) -> None:
        """Raise Misfit unless this method, by its attribute `modalities`, takes as many as the dataset has."""
        least, most = self.facts["modalities"]
        if not least <= len(modalities) <= (most or len(modalities)):
            bound = f"{least} to {most}" if most else f"at least {least}"
            raise Misfit(
                f"{self.kind} {self.name!r} needs {bound} modalities; dataset {dataset!r} has {len(modalities)}"
                f" ({', '.join(modalities)})"
            )

    def check_task(self, task: str, dataset: str) -> None:
        """Raise Misfit unless this method, by its attribute `tasks`, supports the task that the dataset poses."""
        if task not in self.facts["tasks"]:
            raise Misfit(
                f"{self.kind} {self.name!r} supports {', '.join(self.facts['tasks'])}; dataset {dataset!r} poses {task}"
            )

    @cached_property
    def locations(self) -> set[str]:
        """The parameters that say where something lies; they are not part of what it is."""
        return {name for name, parameter in self.parameters.items() if parameter.is_path}

    def defaults(self) -> dict[str, Any]:
        """Return the default of every parameter that has one."""
        return {k: p.default for k, p in self.parameters.items() if p.default is not REQUIRED}

    def build(self, named: Mapping[str, Any], *given: Any, **more: Any) -> Any:  # noqa: ANN401 - what the class is
        """Return what is made of {"name": …, options}, checked, and what the caller gives; raises as `check`."""
        options = {name: value for name, value in named.items() if name not in ("name", "fingerprint")}
        return self.load()(*given, **more, **self.check(options))

    def load(self) -> Callable[..., Any]:
        """Import the module and return the class or function."""
        return getattr(import_module(self.source.module), self.attribute)


def entries(kind: str, plugins: tuple[str, ...] = ()) -> dict[str, Entry]:
    """Return every entry of `kind` by name, those of plug-ins included; raise UserError for a name given twice."""
    found = dict(_own(kind))
    for plugin in plugins:
        for entry in brought(plugin):
            if entry.kind == kind:
                if entry.name in found:
                    raise UserError(
                        f"plugin {plugin!r} brings {kind} {entry.name!r}, which exists already"
                        f" ({_whence(found[entry.name])}); rename its {'module' if kind == 'dataset' else 'class'}"
                    )
                found[entry.name] = entry
    return found


def entry(kind: str, name: str) -> Entry:
    """Return the entry of that name, in full if it is of another module; raise UserError with the nearest name."""
    module, dot, _ = name.rpartition(".")
    known = {e.full: e for e in brought(module) if e.kind == kind} if dot else _own(kind)
    return known[choose(kind, name, known)]


def brought(module: str) -> tuple[Entry, ...]:
    """Return all that a module of another package brings; raise UserError if that cannot be found, or is nothing."""
    source = source_of(module, module.split(".")[0])
    if source is None:
        raise UserError(
            f"plugin {module!r} cannot be imported; give a module on PYTHONPATH, like my_package.my_method"
        )
    found = _brought(source)
    if not found:
        bases = ", ".join(name for _, name in OPEN.values())
        raise UserError(
            f"plugin {module!r} defines nothing that a study can name (a subclass of {bases}, or a dataset's load and"
            " files); define one, or leave the plugin out"
        )
    return found


@cache
def _own(kind: str) -> dict[str, Entry]:
    if kind in ADDED:
        return {}
    if kind == "dataset":
        return {e.name: e for source in _modules("data.sources") if (e := _dataset(source))}
    folder, *base = BASES[kind]
    # what stands beside the base is there to derive from
    named = (source for source in _modules(folder) if source.module != base[0])
    found = (entry for source in named for entry in _classes(kind, source, *base))
    return {entry.name: entry for entry in found}


def _modules(folder: str) -> Iterator[Source]:
    for path in sorted(sources.HOME.joinpath(*folder.split(".")).glob("[a-z]*.py")):
        source = source_of(f"{OWN}.{folder}.{path.stem}")
        if source:
            yield source


@cache
def _brought(source: Source) -> tuple[Entry, ...]:
    found = [entry for kind, base in OPEN.items() for entry in _classes(kind, source, *base)]
    dataset = _dataset(source) if "files" in source.definitions else None
    if dataset:
        _check_functions(source, dataset)
        found.append(dataset)
    return tuple(found)


def _check_functions(source: Source, dataset: Entry) -> None:
    """Raise UserError unless a dataset's module has the functions that `load` goes with, and they take its options."""
    if "inputs" not in source.definitions and not {"readers", "samples"} <= source.definitions.keys():
        raise UserError(
            f"module {source.module!r} defines a dataset's load without `inputs`; define inputs(*, root, **options),"
            " which returns {modality: InputSpec}"
        )
    for name in ("files", "inputs", "readers", "samples", "task"):
        own = source.definitions.get(name)
        if isinstance(own, ast.FunctionDef) and own.args.kwarg is None:
            lacking = {"root", *dataset.parameters} - {a.arg for a in (*own.args.args, *own.args.kwonlyargs)}
            if lacking:
                raise UserError(
                    f"{source.at(own)}: {name} does not take {_listed(lacking)}; a"
                    " dataset's functions take `root` and all options of its load, or **options"
                )


def _whence(entry: Entry) -> str:
    return f"in {entry.source.module}" if entry.full != entry.name else "one of the project's own"


def _classes(kind: str, source: Source, module: str, base: str) -> Iterator[Entry]:
    """Yield the entries that a module's public subclasses of a base are."""
    for own in source.classes():
        if own.is_a(module, base) and not own.name.startswith("_"):
            name, lineage = re.sub(r"(?<!^)(?=[A-Z])", "_", own.name).lower(), own.lineage()
            declared = next(c for c in lineage if (c.source.module, c.name) == (module, base)).attributes()
            parameters, given = _signature(kind, lineage)
            doc = ast.get_docstring(own.node) or ""
            yield Entry(kind, name, source, own.name, parameters, given, doc, _facts(lineage, declared))


def _dataset(source: Source) -> Entry | None:
    node = source.definitions.get("load")
    if not isinstance(node, ast.FunctionDef):
        return None
    parameters, given = _arguments("dataset", source, node)
    name, doc = source.module.split(".")[-1], ast.get_docstring(source.tree) or ""
    return Entry("dataset", name, source, "load", parameters, given, doc, {})


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, sorted(names)))


def _facts(lineage: list[Class], declared: Collection[str]) -> dict[str, Any]:
    """Return the class attributes that the base declares or whose value is plain data, those of nearer classes first.

    Raises UserError for one that the base declares where only running the module can tell its value.
    """
    facts: dict[str, Any] = {}
    for own in reversed(lineage):
        for name, node in own.attributes().items():
            if name in declared:
                facts[name] = own.source.value(node)
            elif isinstance(node, ast.Constant | ast.Tuple):
                with suppress(ValueError):
                    facts[name] = ast.literal_eval(node)
    return facts


def _signature(kind: str, lineage: list[Class]) -> tuple[dict[str, Parameter], frozenset[str]]:
    """Return the hyper-parameters and the given arguments of a class's constructor, inherited ones included."""
    parameters: dict[str, Parameter] = {}
    given: frozenset[str] = frozenset()
    for own in lineage:
        init = own.constructor()
        if init is None:
            continue
        inherited, more = _arguments(kind, own.source, init, own.attributes())
        parameters, given = (
            {**parameters, **{k: p for k, p in inherited.items() if k not in parameters}},
            given | more,
        )
        if init.args.kwarg is None:  # what a base would take is not passed on
            break
    return parameters, given


def _arguments(
    kind: str, source: Source, node: ast.FunctionDef, nearer: Mapping[str, ast.expr] | None = None
) -> tuple[dict[str, Parameter], frozenset[str]]:
    """Return the keyword-only arguments: those that a study sets, as parameters, and the names of the others."""
    found, given = {}, set()
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if argument.arg in GIVEN.get(kind, ()):
            given.add(argument.arg)
        elif argument.annotation is None:
            raise UserError(
                f"{source.at(argument)}: argument {argument.arg!r} of {node.name} has no type; annotate it, as in"
                f" `{argument.arg}: float`"
            )
        else:
            own = source.annotation(argument.annotation)
            value = REQUIRED if default is None else source.value(default, nearer)
            found[argument.arg] = Parameter(own, value)
            if not source.module.startswith(f"{OWN}."):
                found[argument.arg].check(f"{source.at(argument)}: argument {argument.arg!r} of {node.name}")
    if not source.module.startswith(f"{OWN}."):
        _check_keywords(kind, source, node)
    return found, frozenset(given)


def _check_keywords(kind: str, source: Source, node: ast.FunctionDef) -> None:
    """Raise UserError for an argument with a default, or of a dataset's load, that is not keyword-only."""
    places = (
        node.args.args
        if kind == "dataset"
        else node.args.args[len(node.args.args) - len(node.args.defaults) :]
    )
    for argument in places:
        raise UserError(
            f"{source.at(argument)}: argument {argument.arg!r} of {node.name} may be given by its place; what a study"
            " sets is given by name: put `*,` before it"
        )
