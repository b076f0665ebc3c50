"""README and docs say what works: commands are parsed, and carried out where that is quick; studies are read."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import yaml

from sweeper import ROOT
from sweeper.cli import COMMANDS, parser
from sweeper.ledger.file import Ledger
from sweeper.models.errors import UserError
from sweeper.study import schema, yamls
from tests.docs.commands import commands, named, reason
from tests.docs.pages import PAGES, blocks, inline

README = ROOT / "README.md"
BASE = {"study": "base", "dataset": "digits", "methods": ["joint"]}
TINY = ("search.configurations=1", "search.seeds=[0]", "final.seeds=[100]", "train.epochs=1")
OTHERS = {"--tmux", "--force", "--dirty"}  # options of other programs


def of(page: Any) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_command_is_one(page):
    for arguments in commands(page):
        if len(arguments) == 1:
            assert arguments[0] in {*COMMANDS, *options()}, arguments
        else:
            assert parser().parse_args(arguments).command == arguments[0]


def test_a_command_that_is_none_is_found(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("Text with `sweeper plan a --sett b=c`.\n\n    sweeper status  # a comment\n")
    first, second = sorted(commands(page))
    assert (first, second) == (["plan", "a", "--sett", "b=c"], ["status"])
    with pytest.raises(SystemExit):
        parser().parse_args(first)
    assert "unrecognized arguments: --sett" in capsys.readouterr().err


def options() -> Iterator[str]:
    """Yield every option of every command."""
    top = parser()
    choices = next(a.choices for a in top._actions if isinstance(a, argparse._SubParsersAction))
    for command in [top, *choices.values()]:
        for action in command._actions:
            yield from action.option_strings


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_option_that_is_named_by_itself_is_one(page):
    own = {code.split()[0].split("=")[0] for code in inline(page) if code.startswith("--")} - {"--"}
    assert own <= {*options(), *OTHERS}


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_target_of_make_is_one(page):
    targets = set(re.findall(r"^([\w./-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join([*blocks(page), *inline(page)])
    assert set(re.findall(r"^make ([\w./-]+)", code, re.MULTILINE)) <= targets


def studies(page: Any) -> Iterator[dict[str, Any]]:
    """Yield the studies, and parts of studies, that a page shows; alternatives between bars are no study."""
    for text in [*blocks(page), *(code for code in inline(page) if re.match(r"\w+: [^|]*$", code))]:
        try:
            found = yamls.read(text, "a page")
        except UserError:
            continue
        if isinstance(found, dict) and found.keys() <= set(schema.Study.model_fields):
            yield found


# the study of extending.md uses parts of one's own: tests/sweeper/test_extending.py carries it out with them
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "extending.md"], ids=of)
def test_every_study_that_is_shown_is_one(page):
    for found in studies(page):
        if "…" not in str(found) and "..." not in str(found):
            schema.parse(BASE | found | {"plugins": []})  # those that a page names are not there


def test_studies_are_found_at_all():
    assert [found["study"] for found in studies(README) if "study" in found] == ["my_first"]
    assert len(list(studies(ROOT / "docs" / "studies.md"))) > 4


@pytest.mark.parametrize("page", PAGES, ids=of)
def test_every_piece_of_python_is_python(page):
    for text in blocks(page):
        if re.match(r"\s*(from \S+ )?import ", text):
            ast.parse(text)


@pytest.fixture
def shown(here, tmp_path, monkeypatch):
    """The storage and files that the docs' commands speak of: README's first study, and quickstart, both tiny."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    np.savez("my_data.npz", y=y, **{f"x_{m}": rng.normal(size=(120, 4)) + y[:, None] for m in ("a", "b")})
    (first,) = (found for found in studies(README) if "study" in found)
    for name in ("study.yaml", "my.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump(first))
    tiny = [word for change in TINY for word in ("--set", change)]
    for name in ("quickstart", "study.yaml"):
        assert here("run", name, *tiny).code == 0
    ledger = Ledger(tmp_path / "store" / "ledger.jsonl")
    key = next(key for key, run in ledger.runs.items() if run.stage == "final")
    assert here("export", "quickstart", "quickstart.zip").code == 0
    names = {"methods": "lfm", "datasets": "crema_d", "report": "quickstart", "export": "quickstart"}

    def filled(arguments: list[str]) -> list[str]:
        stand_ins = {"NAME": names.get(arguments[0], "quickstart"), "KEY": key, "FILE": "quickstart.zip"}
        words = [stand_ins.get(word, word) for word in arguments]
        return [*words, *(tiny if words[0] in ("run", "plan") else [])]

    return filled


@pytest.mark.slow
def test_what_is_quick_is_carried_out(here, shown):
    carried_out = [arguments for _, arguments in named() if reason(arguments) is None]
    assert {arguments[0] for arguments in carried_out} >= {
        "run",
        "plan",
        "report",
        "repro",
        "export",
        "import",
    }
    for arguments in {tuple(arguments): arguments for arguments in carried_out}.values():
        if arguments != ["methods", "my_method"]:  # which the page has the reader write
            told = here(*shown(arguments))
            assert told.code == 0, (arguments, told.err)
            assert told.out
