"""docs/licences.md says of every direct dependency and every published dataset what their own metadata say."""

from __future__ import annotations

import re
from email.message import Message

import pytest

from sweeper import ROOT
from tests.docs import licences


def test_the_page_is_what_metadata_say():
    page = licences.PAGE.read_text()
    assert licences.written(page) == page, "python -m tests.docs.licences writes its tables anew"


def test_every_direct_dependency_is_pinned_and_every_pin_is_one():
    pinned = {
        re.split("==", line)[0] for line in (ROOT / "constraints.txt").read_text().split("\n")[1:] if line
    }
    assert {name.lower() for name in licences.packages()} == {name.lower() for name in pinned}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"License-Expression": "MIT", "License": "long"}, "MIT"),
        ({"Classifier": "License :: OSI Approved :: MIT License", "License": "x"}, "MIT License"),
        ({"License": "Apache 2.0"}, "Apache 2.0"),
    ],
)
def test_a_licence_is_an_expression_or_else_a_classifier_or_else_a_short_name(facts, said):
    about = Message()
    for name, value in facts.items():
        about[name] = value
    assert licences.licence(about) == said


def test_a_package_that_states_none_is_told():
    about = Message()
    about["License"] = "Permission is hereby granted\nto whom it may concern"
    with pytest.raises(ValueError, match="states no licence"):
        licences.licence(about)
