"""What is read as YAML, and what is refused although YAML admits it."""

from __future__ import annotations

import pytest

from sweeper.models.errors import UserError
from sweeper.study import yamls

DEEP = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED = "a: &a {k: v}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (DEEP, "more than 100,000 values"),
        (MERGED, "more than 100,000 values"),
        ("a: &a [*a]", "or itself"),
        (
            "a: " + "9" * 5000,
            "'99999999999999999999999999999999999999999999999999' is no int that can be used",
        ),
        (f"a: {2**63}", "is no int that can be used"),
        ("a: !!int many", "in line 1: 'many' is no int"),
        ("a: !!float ''", "'' is no float"),
        ("a: !!bool perhaps", "'perhaps' is no bool"),
        ("a: !!timestamp never", "'never' is no timestamp"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", "in line 2: could not determine a constructor"),
        (r'a: "two\nlines"', "is no str that can be used"),
        (r'a: "\ud800"', "is no str that can be used"),
        ("[" * 5000, "nested too deeply"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_refused(text, told):
    with pytest.raises(UserError, match=r"^the file ") as refused:
        yamls.read(text, "the file")
    assert told in str(refused.value)


def test_what_is_read():
    text = (
        "{on: on, day: 2001-02-30, small: 1e-3, most: 9223372036854775807, shared: [&a {x: 1}, *a], none: }"
    )
    assert yamls.read(text, "the file") == {
        "on": "on",
        "day": "2001-02-30",
        "small": 0.001,
        "most": 2**63 - 1,
        "shared": [{"x": 1}, {"x": 1}],
        "none": None,
    }
    assert yamls.read("", "the file") is None
