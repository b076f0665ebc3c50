"""Sentences about names that there are not."""

from __future__ import annotations

import pytest

from sweeper.models.errors import UserError, choose


@pytest.mark.parametrize(
    ("name", "known", "nearest"),
    [
        ("lmf", ["lfm", "qmf", "umt"], "lfm"),  # letters swapped
        ("lffm", ["lfm", "udml"], "lfm"),
        ("trian", ["train", "terrain"], "train"),
        ("epoch", ["epochs", "batch_size"], "epochs"),
    ],
)
def test_the_nearest_name_is_told(name, known, nearest):
    with pytest.raises(UserError, match=f"unknown method {name!r}; did you mean {nearest!r}\\?"):
        choose("method", name, known)


def test_what_is_like_nothing_is_told_what_there_is():
    with pytest.raises(UserError, match=r"unknown method .xyz. in here; admissible: lfm, udml$"):
        choose("method", "xyz", ["udml", "lfm"], "here")
    with pytest.raises(UserError, match=r"unknown method 3; admissible: none$"):
        choose("method", 3, [])
