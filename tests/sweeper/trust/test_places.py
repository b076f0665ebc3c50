"""Nothing is written or removed outside of the storage, whatever is named in a study and whatever links lie there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.reports.figures import file_name
from sweeper.study.schema import parse

NASTY = [
    "..",
    "../..",
    "/",
    "/etc",
    "a/../../b",
    "~",
    ".",
    "",
    "x\0y",
    "a\nb",
    "a" * 5000,
    "a/b",
    "\\..\\",
    "%2e%2e",
    "é",
]
names = st.sampled_from(NASTY) | st.text() | st.lists(st.sampled_from(["..", "a", "", "."])).map("/".join)
STUDY = {
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 48},
    "methods": ["joint"],
    "search": {"configurations": 1},
    "final": {"seeds": [100]},
    "train": {"epochs": 1},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("places") / "store"


@given(name=names)
def test_a_name_gives_a_place_in_the_storage_or_is_refused(root, name):
    storage = Storage(root)
    for folder, place in (("runs", storage.run), ("studies", storage.study), ("trainings", storage.training)):
        try:
            found = place(name)
        except UserError:
            continue
        assert found.resolve().is_relative_to(root / folder)


@given(name=names)
def test_a_study_has_a_plain_name(name):
    try:
        study = parse({**STUDY, "study": name})
    except UserError:
        return
    assert Path("studies", study.study).parts == ("studies", name)


@given(name=names)
def test_a_figure_has_a_plain_name(name):
    path = Path("figures", f"x{file_name(name)}")
    assert path.parent == Path("figures")
    assert len(path.name.encode()) < 500
    assert "\0" not in path.name


@pytest.fixture
def around(tmp_path: Path) -> Callable[[], dict[str, bytes | None]]:
    """What lies beside the storage."""
    return lambda: {
        str(path): path.read_bytes() if path.is_file() else None
        for path in sorted(tmp_path.rglob("*"))
        if tmp_path / "store" not in (path, *path.parents) and path.name != "study.yaml"
    }


@pytest.mark.parametrize("name", ["../../../out", "/tmp/out", "a" * 5000, "..", "$HOME", "%s", "`touch out`"])
def test_labels_lead_nowhere(here, study_file, around, tmp_path, name):
    before = around()
    data = {**STUDY["dataset"], "label": name}
    changes = {**STUDY, "dataset": data, "methods": [{"name": "joint", "label": name}]}
    assert here("run", study_file(**changes)).code == 0
    assert here("report", "tiny", "--rows", "dataset", "method").code == 0
    assert around() == before
    assert {path.name for path in (tmp_path / "store" / "studies").iterdir()} == {"tiny"}


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "a\x1b[2J"])
def test_labels_of_more_than_a_line_are_refused(here, study_file, name):
    assert here("run", study_file(**STUDY | {"methods": [{"name": "joint", "label": name}]})).code == 2


LOGS = '''
from sweeper.models.method import Method


class Logs(Method):
    """Joint training that logs under a name that leads away."""

    def on_epoch_end(self, ctx, metrics):
        ctx.log("../../../out", 1.0)
        ctx.log("/out", 1.0)
'''


def test_what_a_plugin_logs_leads_nowhere(here, study_file, around, tmp_path, monkeypatch):
    from sweeper.ledger.file import Ledger
    from sweeper.ledger.history import History
    from sweeper.reports import figures, report

    (tmp_path / "logs_method.py").write_text(LOGS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    before = around()
    assert here("run", study_file(**STUDY | {"methods": ["logs"], "plugins": ["logs_method"]})).code == 0
    storage = Storage(tmp_path / "store")
    history = History.of("tiny", Ledger(storage.ledger).records)
    folder = storage.study("tiny") / "figures"
    drawn = figures.draw(history, report.build(history), storage.curve, folder)
    assert {path.parent for path in drawn} == {folder}
    assert "-..-..-out.png" in {path.name for path in drawn}
    assert around() == before


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of somebody else's."""
    (tmp_path / "elsewhere" / "more").mkdir(parents=True)
    (tmp_path / "elsewhere" / "precious.pt").write_text("precious")
    (tmp_path / "elsewhere" / "more" / "checkpoint.pt").write_text("precious")
    return tmp_path / "elsewhere"


@pytest.mark.parametrize(
    "link", ["studies/tiny", "studies", "runs/{key}", "runs", "trainings", "ledger.jsonl"]
)
@pytest.mark.parametrize("command", ["run", "gc"])
def test_a_link_that_leads_out_is_not_followed(here, study_file, around, tmp_path, elsewhere, link, command):
    study = study_file(**STUDY | {"methods": ["eruw"]})
    told = here("run", study)
    assert told.code == 0
    store = tmp_path / "store"
    path = store / link.format(key=told.runs[0].key)
    target = elsewhere / "precious.pt" if link == "ledger.jsonl" else elsewhere
    path.rename(tmp_path / "own")
    path.symlink_to(target)
    if (link, command) == ("runs/{key}", "run"):  # which would not be looked at again
        (store / "ledger.jsonl").unlink()
    before = around()
    again = (
        here("run", study, "--set", "final.seeds=[100,101]") if command == "run" else here("gc", "--remove")
    )
    assert around() == before
    if (link, command) not in {("studies", "gc"), ("studies/tiny", "gc")}:  # where gc has no business
        assert again.code == 2
        assert "leads out of the storage" in again.err


def test_files_that_are_links_are_replaced(here, study_file, around, tmp_path, elsewhere):
    study = study_file(**STUDY)
    told = here("run", study)
    store = tmp_path / "store"
    files = [*(store / "studies" / "tiny").glob("*"), *(store / "runs" / told.runs[0].key).glob("*")]
    for path in files:
        path.unlink()
        path.symlink_to(elsewhere / "precious.pt")
    (store / "ledger.jsonl").unlink()
    before = around()
    assert here("run", study).code == 0
    assert around() == before
    assert not any(path.is_symlink() for path in files if path.name != "run.json")


def test_gc_removes_links_and_not_what_they_lead_to(here, study_file, around, tmp_path, elsewhere):
    told = here("run", study_file(**STUDY))
    (tmp_path / "store" / "runs" / told.runs[0].key / "old.pt").symlink_to(elsewhere / "precious.pt")
    gone = tmp_path / "store" / "runs" / "gone"
    gone.mkdir()
    (gone / "more").symlink_to(elsewhere)
    before = around()
    assert here("gc", "--remove").code == 0
    assert around() == before
    assert not gone.exists()
    assert not list((tmp_path / "store" / "runs").glob("*/old.pt"))
