"""The hooks that methods override, as read from source."""

from __future__ import annotations

import pytest

from sweeper.models.method import Method
from sweeper.models.schema.entries import entries
from sweeper.models.schema.hooks import hooks_of

HOOKS = [name for name, value in vars(Method).items() if callable(value) and not name.startswith("_")]


@pytest.mark.parametrize("name", entries("method"))
def test_hooks_are_what_importing_gives(name):
    method = entries("method")[name]
    loaded = method.load()
    assert hooks_of(method) == [h for h in HOOKS if getattr(loaded, h) is not getattr(Method, h)]


def test_a_hook_may_be_overridden_by_a_base():
    methods = entries("method")
    assert hooks_of(methods["etmc"]) == hooks_of(methods["tmc"]) == ["forward", "objectives"]
    assert hooks_of(methods["joint"]) == []
