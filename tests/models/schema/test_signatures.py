"""Ordinary Python signatures of hyper-parameters: what is read off them without running the module, or why not."""

import pytest

from sweeper.models.errors import UserError
from sweeper.models.schema.entries import brought

MODULE = """
from __future__ import annotations
import math, sys
import typing as t
import numpy as np
import torch
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Annotated, Final, List, Literal, Optional, Tuple, Union
from annotated_types import Ge
from sweeper.models.method import Method
from sweeper.models.schema.ranges import Share
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
try:
    TRIED = 4
except ImportError:
    TRIED = 5
RATE: Final = 0.5
NAMES = ("a", "b")
Kind = Literal["a", "b"]
Quoted = Optional["int"]
class Color(Enum):
    RED = 1
class Mine(Method):
    DEFAULT = 0.25
    def __init__(self, net, task, SIGNATURE):
        super().__init__(net, task)
"""


def read(written, signature):
    written({"mine": MODULE.replace("SIGNATURE", signature)})
    (found,) = brought("mine")
    return found.parameters


@pytest.mark.parametrize(
    ("signature", "words", "default"),
    [
        ("x: Sequence[float] = (0.1, 0.2)", "a list of a number", [0.1, 0.2]),
        ("x: Optional[int] = None", "a whole number | null", None),
        ("x: int | None = None", "a whole number | null", None),
        ("x: t.Optional[float] = None", "a number | null", None),
        ("x: Union[int, str] = 3", "a whole number | text", 3),
        ('x: Literal["a", "b"] = "a"', "a | b", "a"),
        ('x: Kind = "b"', "a | b", "b"),
        ("x: list[int] = [1, 2]", "a list of a whole number", [1, 2]),
        ("x: List[float] = [0.1] * 3", "a list of a number", [0.1, 0.1, 0.1]),
        ("x: tuple[int, ...] = ()", "a list of a whole number", []),
        ("x: Tuple[float, int] = (0.9, 3)", "a list of 2: a number, a whole number", [0.9, 3]),
        ('x: Mapping[str, float] = {"a": 1.0}', "a mapping to a number", {"a": 1.0}),
        ("x: bool = False", "true | false", False),
        ("x: float = -0.5", "a number", -0.5),
        ("x: float = 1", "a number", 1.0),
        ("x: float = 1 / 3", "a number", 1 / 3),
        ("x: int = 2 * 8", "a whole number", 16),
        ("x: float = -RATE", "a number", -0.5),
        ("x: float = DEFAULT", "a number", 0.25),
        ("x: int = TRIED", "a whole number", 4),
        ("x: float = math.sqrt(4)", "a number", 2.0),
        ("x: int = len(NAMES)", "a whole number", 2),
        ("x: str = NAMES[0]", "text", "a"),
        ('x: "int | None" = None', "a whole number | null", None),
        ("x: Share = 1 / 4", "a number from 0 to 1", 0.25),
        ("x: Annotated[int, Ge(2)] = 3", "a whole number from 2", 3),
        ('x: str | Path = "a"', "text | a path", "a"),
        ("x: Any = None", "anything", None),
    ],
)
def test_what_is_ordinary_is_read(written, signature, words, default):
    (found,) = read(written, f"*, {signature}").values()
    assert found.admissible == words
    assert found.admit(found.default, "x") == default


UNREAD = "cannot be read without running the module"


@pytest.mark.parametrize(
    ("signature", "sentence"),
    [
        ("*, x = 0.5", "argument 'x' of __init__ has no type; annotate it, as in `x: float`"),
        (
            "*, x: int = None",
            "argument 'x' of __init__ has the default None; by its type admissible: a whole number",
        ),
        ("*, x: float = 'mean'", "has the default 'mean'; by its type admissible: a number"),
        ("*, x: float = math.inf", "has the default inf; by its type admissible: a number"),
        ("*, x: Share = 1.5", "has the default 1.5; by its type admissible: a number from 0 to 1"),
        ("*, x: Kind = 'c'", "has the default 'c'; by its type admissible: a | b"),
        (
            "*, x: Callable[[int], int] = len",
            "has a type that no study can say; admissible are int, float, bool",
        ),
        ("*, x: 3 = 3", "has a type that no study can say; admissible are int, float"),
        ("*, x: Color = Color.RED", UNREAD),
        ("*, x: torch.dtype = torch.float32", UNREAD),
        ("*, x: float = np.pi", UNREAD),
        ("*, x: Missing = 3", UNREAD),
        ("*, x: Quoted = None", "type Quoted has quotes within it; write it without"),
        ("*, x: 'int |' = None", "'int |' is no type"),
        (
            "x: float = 0.5",
            "argument 'x' of __init__ may be given by its place; what a study sets is given by name",
        ),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence_that_says_where(written, tmp_path, signature, sentence):
    with pytest.raises(UserError) as told:
        read(written, signature)
    line = MODULE[: MODULE.index("SIGNATURE")].count("\n") + 1
    assert str(told.value).startswith(f"module 'mine' ({tmp_path / 'research' / 'mine.py'}:{line}): ")
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').getpid()",
        "open('PLACE', 'w')",
        "Path('PLACE').touch()",
        "Path.touch(Path('PLACE'))",
        "(lambda: 3)()",
        "().__class__.__base__.__subclasses__()",
        "'{0.__class__}'.format(3)",
        "t.sys.exit()",
        "sys.exit()",
        "Color(1)",
        "np.load('PLACE')",
        "eval('3')",
        "type('X', (), {})",
    ],
)
@pytest.mark.parametrize("where", ["*, x: int = {}", "*, x: Annotated[int, {}] = 3"])
def test_reading_runs_nothing(written, tmp_path, where, expression):
    place = tmp_path / "made"
    with pytest.raises(UserError, match=UNREAD):
        read(written, where.format(expression.replace("PLACE", str(place))))
    assert not place.exists()


def test_what_is_quoted_runs_nothing_either(written, tmp_path):
    place = tmp_path / "made"
    for text in (f"open('{place}', 'w')", f"list[open('{place}', 'w')]"):
        with pytest.raises(UserError, match=UNREAD):
            read(written, f'*, x: "{text}" = 3')
    assert not place.exists()
