"""A plug-in of the user's own, and copies of models/, for keys and studies."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeper.models.schema import digest, entries, sources

METHOD = '''
"""A plugin."""
from sweeper.models.method import Method


class MyMethod(Method):
    """Joint training with a factor that does nothing."""

    def __init__(self, net, task, *, factor: float = 0.5, kind: str = "a") -> None:
        super().__init__(net, task)
'''


@pytest.fixture
def forget() -> Iterator[Callable[[], None]]:
    """Let go of what was read of any source, as a new process would have."""

    def call() -> None:
        for known in (entries._own, entries._brought, sources._source, sources._places, digest._digest):
            known.cache_clear()

    yield call
    call()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]) -> Path:
    """A package of the user's own, outside the project."""
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "my_method.py").write_text(METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    return package / "my_method.py"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]) -> Path:
    """A copy of models/ that names and keys are taken from; after a change, `forget`."""
    home = tmp_path / "models"
    shutil.copytree(sources.HOME, home, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "HOME", home)
    forget()
    return home
