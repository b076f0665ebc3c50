"""Code that is written or changed for one test, and read anew as a new process would."""

import shutil
import textwrap

import pytest

from sweeper.models.schema import digest, entries, sources

_read = {}  # {(module, file, text): source}


@pytest.fixture
def anew(monkeypatch):
    """Call it after a change of a file that was read already."""
    monkeypatch.setattr(
        sources,
        "_source",
        lambda module, path: _read.setdefault((module, path, path.read_text()), sources.Source(module, path)),
    )

    def forget():
        sources._places.cache_clear()
        digest._needed.cache_clear()
        entries._own.cache_clear()
        entries._brought.cache_clear()

    forget()
    yield forget
    forget()


@pytest.fixture
def written(tmp_path, monkeypatch, anew):
    """Call it with modules {dotted name: text} of a researcher's own code; packages get what they need."""
    folder = tmp_path / "research"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def write(modules):
        for name, text in modules.items():
            path = folder.joinpath(*name.split("."))
            for package in path.relative_to(folder).parents:
                if package.name and not (folder / package / "__init__.py").exists():
                    (folder / package).mkdir(parents=True, exist_ok=True)
                    (folder / package / "__init__.py").touch()
            path = path / "__init__.py" if path.is_dir() else path.with_name(f"{path.name}.py")
            path.write_text(textwrap.dedent(text))
        anew()

    return write


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of models/."""
    folder = tmp_path_factory.mktemp("code") / "models"
    return shutil.copytree(sources.HOME, folder, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def home(copy, monkeypatch, anew):
    """Read models/ from its copy; call it with a file of it and a change, which is undone afterwards."""
    monkeypatch.setattr(sources, "HOME", copy)
    undo = []

    def change(file, old, new):
        path = copy / file
        text = path.read_text() if path.exists() else None
        undo.append((path, text))
        assert old in (text or "")
        path.write_text((text or "").replace(old, new, 1))
        anew()

    anew()
    yield change
    for path, text in undo:
        path.unlink() if text is None else path.write_text(text)
