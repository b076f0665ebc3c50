"""The words of a command, whatever they are: it tells what is asked for, or what is wrong in one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.study.files import shipped
from tests.fuzz.ends import ends_well

WORDS = [
    "",
    " ",
    ".",
    "..",
    "/",
    "/dev/null",
    "/dev/zero",
    "/proc/self/mem",
    "a" * 300,
    "a/b",
    "~",
    "~no_such_user/x",
    "\\",
    "*",
]
WORDS += [
    "a" * 5000,
    "file:",
    "file:///",
    "file://a%00b",
    "file:///%2e%2e",
    "s3://b",
    "http://[",
    "x:y",
    "-",
    "é",
    "a\nb",
]
words = st.sampled_from([*WORDS, *shipped(), "quickstart.yaml", "missing.yaml"]) | st.text(
    st.characters(exclude_characters="\0"), max_size=6
)
commands = st.sampled_from(
    ["plan", "status", "report", "repro", "methods", "datasets", "conditions", "metrics"]
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("fuzz"))
    monkeypatch.delenv("SWEEPER_DATA", raising=False)


@given(command=commands, word=words, storage=st.just("store") | words)
def test_names_and_storages(command, word, storage):
    ends_well(command, word, f"--storage={storage}")


@given(word=words)
def test_folders_of_data(word):
    ends_well("plan", "quickstart", "--storage=store", f"--data-root={word}")
    ends_well(
        "plan",
        "quickstart",
        "--storage=store",
        "--set",
        "dataset={name: arrays, path: own}",
        f"--data-root={word}",
    )
