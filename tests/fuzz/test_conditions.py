"""Conditions written in any way: one that its label names again, or what is wrong in one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.models.data.noise.conditions import OPTIONS, Condition, check, parse
from sweeper.models.data.noise.corruptions import CORRUPTIONS
from sweeper.models.errors import UserError
from sweeper.models.values import DataSpec, InputSpec
from tests.fuzz.ends import one_sentence
from tests.fuzz.trees import scalars, trees_of

SPEC = DataSpec(
    "d", {"a": InputSpec("vector", (3,)), "b": InputSpec("image", (3, 4, 4))}, "classification", 2, {}, ""
)
KINDS = ["clean", *CORRUPTIONS["clean"]]
PARTS = [
    *KINDS,
    "-",
    "-5",
    "-0.5",
    "--5",
    "-1e400",
    "-nan",
    "-9" + "9" * 400,
    "@a",
    "@b+a",
    "@",
    " (",
    ")",
    ", ",
    " ",
    "\0",
]
PARTS += [*(f"{name} " for name in OPTIONS), "1", "0.25", "qmf", "clean", "inf"]
labels = st.lists(st.sampled_from(PARTS), max_size=7).map("".join) | st.text()
fields = st.dictionaries(
    st.sampled_from(["modalities", *OPTIONS, "level"]), trees_of(scalars, scalars), max_size=3
)


def known(value: object) -> None:
    """See that a condition is known again by its label, and fits a dataset or not."""
    try:
        found = parse(value)
        assert parse(found.label) == found
        assert len(found.label) <= 200
        assert found.label.isprintable()
        check(found, SPEC.modalities, SPEC.name)
    except UserError as error:
        one_sentence(error)


@given(label=labels)
def test_labels(label):
    known(label)


@given(label=labels | st.sampled_from([f"{kind}-5" for kind in KINDS]), more=fields)
def test_mappings(label, more):
    known({"name": label, **more})


@given(value=trees_of(scalars, scalars))
def test_anything(value):
    known(value)


@given(
    kind=st.sampled_from(KINDS),
    level=st.floats(),
    share=st.floats(),
    repeats=st.integers(),
    seed=st.integers(),
)
def test_numbers(kind, level, share, repeats, seed):
    try:
        found = Condition(kind, level=level, share=share, repeats=repeats, seed=seed)
    except UserError:
        return
    known(found.label)
    assert parse(found.label) == found


def test_what_is_fuzzed_here_is_admitted_at_times():
    assert parse("gaussian-5@a+b (share 0.25, repeats 1)").modalities == ("a", "b")
    with pytest.raises(UserError):
        parse("gaussian")
