"""Study files and overrides, however wrong: `sweeper plan` tells a plan, or what is wrong in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sweeper.study import schema
from sweeper.study.files import STUDIES
from sweeper.study.schema import Study
from tests.fuzz.ends import ends_well
from tests.fuzz.trees import NAMES, mutated, scalars, trees_of

SYNTHETIC = {"name": "synthetic", "train": 64, "validation": 48, "test": 48}
SHIPPED = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(STUDIES.glob("*.yaml"))}
BASES = [{**raw, "dataset": SYNTHETIC} for raw in SHIPPED.values()] + list(SHIPPED.values())
# what YAML and studies are made of
TOKENS = ["study: s", "dataset: synthetic", "methods: [joint]", *Study.model_fields, ":", ": ", "\n", "\n  "]
TOKENS += [
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&a ",
    "*a",
    "<<: ",
    "? ",
    "!!int ",
    "!!float ",
    "!!bool ",
    "!!set ",
]
TOKENS += [
    "!!binary ",
    "!!timestamp ",
    "!!python/name:os.system ",
    "|",
    ">",
    "'",
    '"',
    "\\ud800",
    "#",
    "%",
    "---",
]
TOKENS += [
    "2001-99-99",
    "1:60:60",
    "0x",
    "1e400",
    ".nan",
    "~",
    "9" * 5000,
    "=",
    "name: ",
    "/",
    "..",
    "\t",
    "é",
]
anything = scalars | st.sampled_from(list(Study.model_fields)) | st.dates() | st.binary(max_size=4)
trees = trees_of(anything, st.sampled_from(NAMES) | anything)
studies = mutated(BASES, trees, st.sampled_from(NAMES) | anything)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    monkeypatch.delenv("SWEEPER_DATA", raising=False)


def planned(folder: Path, text: str | bytes, *more: str) -> None:
    """See that a plan of a study file is told or refused, and that the storage stays untouched."""
    path = folder / "study.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="replace"))
    ends_well("plan", path, "--storage", folder / "store", "--data-root", folder, *more)
    assert not (folder / "store").exists()


@given(text=st.text() | st.lists(st.sampled_from(TOKENS), max_size=30).map("".join) | st.binary())
def test_any_text(folder, text):
    planned(folder, text)


@given(raw=st.dictionaries(st.sampled_from(list(Study.model_fields)) | anything, trees, max_size=5) | trees)
def test_any_tree(folder, raw):
    planned(folder, yaml.safe_dump(raw))


@given(section=st.sampled_from(list(Study.model_fields)), tree=trees, base=st.sampled_from(BASES))
def test_a_section_that_is_anything(folder, section, tree, base):
    planned(folder, yaml.safe_dump({**base, section: tree}))


@given(raw=studies)
def test_a_shipped_study_that_was_changed(folder, raw):
    planned(folder, yaml.safe_dump(raw))


@given(
    text=st.sampled_from([yaml.safe_dump(base, sort_keys=False) for base in BASES]),
    at=st.floats(0, 1),
    length=st.integers(0, 20),
    put=st.lists(st.sampled_from(TOKENS), max_size=3).map("".join),
)
def test_a_shipped_study_with_typing_errors(folder, text, at, length, put):
    start = round(at * len(text))
    planned(folder, text[:start] + put + text[start + length :])


KEYS = [
    *Study.model_fields,
    *NAMES,
    "search.seeds",
    "space.train.lr",
    "train.lr",
    "methods.0",
    "methods.label",
]


@given(
    path=st.lists(st.sampled_from(KEYS) | st.text(max_size=4), max_size=3).map(".".join),
    value=st.lists(st.sampled_from(TOKENS + NAMES), max_size=4).map("".join)
    | trees.map(yaml.safe_dump)
    | st.text(),
    base=st.sampled_from([yaml.safe_dump(base) for base in BASES]),
)
def test_an_override_of_anything(folder, path, value, base):
    planned(folder, base, f"--set={path}={value}")


@given(raw=studies)
def test_what_is_read_is_written_and_read_again(raw):
    try:
        study = schema.parse(raw)
    except ValueError:
        return
    written = schema.dump(study)
    assert schema.dump(schema.parse(yaml.safe_load(written))) == written  # texts, since nan equals nothing
