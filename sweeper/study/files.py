"""Study files: found by name, read, and changed on the way, as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweeper.models.errors import UserError, choose
from sweeper.study import space, yamls
from sweeper.study.places import place

STUDIES = space.SPACES / "studies"


def find(name: str) -> Path:
    """Return the study file that `name` is, or names in search_spaces/studies; raise UserError if there is none."""
    path = place("study file", name)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"study file {name!r} does not exist; give a file, or one of: {', '.join(shipped())}")
    return STUDIES / f"{choose('study', name, shipped())}.yaml"


def shipped() -> list[str]:
    """Return the names of the studies in search_spaces/studies."""
    return sorted(p.stem for p in STUDIES.glob("*.yaml"))


def read(name: str) -> tuple[dict[str, Any], str]:
    """Return what a study file holds, and its name."""
    path = find(name)
    where = f"study file {path.name!r}"
    try:
        raw = yamls.read(path.read_text(), where)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where} cannot be read ({error}); give a text file of YAML") from None
    if not isinstance(raw, dict):
        found = "is empty" if raw is None else f"holds {type(raw).__name__}"
        raise UserError(f"{where} {found}; it must be a mapping that begins with `study:`")
    return raw, path.name


def override(raw: dict[str, Any], text: str) -> None:
    """Apply `--set a.b=c`; raise UserError for what is not of that form."""
    where = f"--set {text!r}"
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"{where} is not of the form a.b=c")
    change(raw, key, yamls.read(value, where), where)


def change(raw: dict[str, Any], path: str, value: Any, where: str = "") -> None:  # noqa: ANN401 - any YAML value
    """Set the value at a dotted path; raise UserError if the path leads through what is no mapping."""
    # the keys of `space` are dotted themselves, as in space.train.lr
    *parents, last = path.split(".", 1 if path.startswith("space.") else -1)
    for key in parents:
        if raw.get(key) is None or isinstance(raw[key], str):
            raw[key] = {"name": raw[key]} if raw.get(key) else {}
        raw = raw[key]
        if not isinstance(raw, dict):
            raise UserError(f"{where or f'change {path!r}'}: {key!r} is not a mapping in this study")
    raw[last] = value
