"""Hyper-parameters: what each type admits, as what, and in which words it refuses the rest."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Interval, Lt

from sweeper.models.errors import UserError
from sweeper.models.schema import ranges
from sweeper.models.schema.parameters import REQUIRED, Parameter

NAN, INF = float("nan"), float("inf")
# type: (words, what is admitted and as what, what is not)
CASES = [
    (int, "a whole number", [(3, 3), (-1, -1)], [1.0, 0.5, True, "1", None, [1]]),
    (float, "a number", [(3, 3.0), (0.5, 0.5), (-1, -1.0)], [True, "1", None, NAN, INF, -INF]),
    (bool, "true | false", [(True, True), (False, False)], [1, 0, "true", None]),
    (str, "text", [("a", "a"), ("", "")], [1, None, True, ["a"]]),
    (Path, "a path", [("a/b", "a/b")], [1, None, ["a"]]),
    (Path | None, "a path | null", [("a/b", "a/b"), (None, None)], [1, True]),
    (int | None, "a whole number | null", [(3, 3), (None, None)], [0.5, "null", True]),
    (Literal["a", "b"], "a | b", [("a", "a"), ("b", "b")], ["c", None, 1, ["a"]]),
    (Literal["a"], "a", [("a", "a")], ["b"]),
    (Literal[0, 1], "0 | 1", [(0, 0), (1, 1)], [2, "1", 0.5]),
    (Literal["a", None], "a | null", [(None, None)], ["None", "null"]),
    (Literal["auto", True], "auto | true", [("auto", "auto"), (True, True)], [False, "true"]),
    (list[int], "a list of a whole number", [([1, 2], [1, 2]), ([], [])], [1, [0.5], "12", {1: 2}]),
    (list[float] | float, "a list of a number | a number", [(1, 1.0), ([1, 0.5], [1.0, 0.5])], ["1", [None]]),
    (
        dict[str, int],
        "a mapping to a whole number",
        [({"a": 1}, {"a": 1}), ({1: 1}, {"1": 1})],
        [{"a": "b"}, [1], None],
    ),
    (tuple[int, ...], "a list of a whole number", [([1, 2], [1, 2]), ((1,), [1])], [1, ["a"], [1.5]]),
    (
        dict[str, Literal["a", "b"]] | None,
        "a mapping to a | b | null",
        [({"k": "b"}, {"k": "b"})],
        [{"k": "c"}],
    ),
    (dict[str, Any], "a mapping to anything", [({"a": [1]}, {"a": [1]})], [[1]]),
    (list[Any], "a list of anything", [([1, "a"], [1, "a"])], ["a"]),
    (Any, "anything", [(1, 1), ("a", "a"), (None, None)], []),
    (ranges.Share, "a number from 0 to 1", [(0, 0.0), (1, 1.0), (0.5, 0.5)], [-0.1, 1.1, True, NAN, "0.5"]),
    (ranges.ShareBelow1, "a number from 0 to below 1", [(0, 0.0), (0.999, 0.999)], [1, 1.0, -0.1]),
    (ranges.ShareWithin, "a number above 0 and below 1", [(0.5, 0.5)], [0, 1, -1]),
    (ranges.Positive, "a number above 0", [(1e-9, 1e-9), (2, 2.0)], [0, -1, INF, NAN]),
    (ranges.NonNegative, "a number from 0", [(0, 0.0), (1e9, 1e9)], [-1e-9, INF]),
    (ranges.Count, "a whole number from 1", [(1, 1), (7, 7)], [0, -1, 1.0, True]),
    (ranges.Whole, "a whole number from 0", [(0, 0)], [-1, 0.0, False]),
    (ranges.Count | None, "a whole number from 1 | null", [(None, None), (2, 2)], [0]),
    (list[ranges.Positive], "a list of a number above 0", [([1], [1.0])], [[0], 1]),
    (Annotated[int, Interval(gt=2, le=5)], "a whole number above 2 to 5", [(3, 3), (5, 5)], [2, 6]),
    (Annotated[float, Ge(-0.5), Lt(2.5)], "a number from -0.5 to below 2.5", [(2, 2.0)], [2.5, -1]),
]


@pytest.mark.parametrize(
    ("kind", "words", "admitted", "refused"), CASES, ids=[str(case[0]) for case in CASES]
)
def test_what_a_type_admits_and_says(kind, words, admitted, refused):
    parameter = Parameter(kind, REQUIRED)
    assert parameter.admissible == words
    for value, expected in admitted:
        found = parameter.admit(value, "here")
        assert (type(found), found) == (type(expected), expected)
    for value in refused:
        with pytest.raises(UserError) as told:
            parameter.admit(value, "method 'mine': size")
        assert str(told.value) == f"method 'mine': size is {value!r}; admissible: {words}"


def test_every_range_has_a_case():
    helpers = {"Annotated", "Ge", "Gt", "Interval"}
    named = {kind for name, kind in vars(ranges).items() if name[0].isupper() and name not in helpers}
    assert named <= {kind for kind, *_ in CASES}
    assert len(named) == 7


def test_what_is_admitted_is_plain_data_that_is_not_shared():
    given = {"a": [1, 2]}
    found = Parameter(dict[str, list[int]], {}).admit(given, "here")
    found["a"].append(3)
    assert given == {"a": [1, 2]}
    assert type(Parameter(Path, None).admit(Path("a") / "b", "here")) is str


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), float("nan"), {(1, 2): 3}, [[]] * 2])
def test_what_no_study_can_say_is_refused(value):
    with pytest.raises(UserError, match=r"^here is "):
        Parameter(float, REQUIRED).admit(value, "here")


@pytest.mark.parametrize(
    ("kind", "is_path"),
    [(Path, True), (Path | None, True), (str, False), (Literal["a"], False), (dict[str, int], False)],
)
def test_paths_are_known(kind, is_path):
    assert Parameter(kind, None).is_path is is_path


def test_settings_are_parameters_too():
    from sweeper.models.training.settings import Settings, parameters

    known = parameters(["m0"])
    assert known["epochs"].admissible == "a whole number from 1"
    assert known["lr.m0"].admissible == "a number from 0"
    assert {f.name for f in dataclasses.fields(Settings)} - {"encoder_lr"} == set(known) - {"lr.m0"}
    with pytest.raises(UserError, match=r"train\.momentum is 1\.5; admissible: a number from 0 to below 1"):
        Settings(momentum=1.5)
