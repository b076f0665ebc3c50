"""The search space of every method names hyper-parameters that the method admits, at values that it admits."""

import pytest
import yaml

from sweeper.models.schema.entries import entries
from sweeper.models.schema.sources import HOME

SPACES = HOME.parent / "search_spaces"


@pytest.mark.parametrize("name", entries("method"))
def test_a_search_space_names_hyper_parameters_the_method_admits(name):
    entry = entries("method")[name]
    data = yaml.safe_load((SPACES / f"{name}.yaml").read_text())
    assert data["method"] == name
    assert data["cite"]
    for key, domain in data.get("space", {}).items():
        for value in domain.get("choice") or domain.get("float") or domain["int"]:
            entry.check({key: value})
        for other, admissible in domain.get("when", {}).items():
            for value in admissible if isinstance(admissible, list) else [admissible]:
                entry.check({other: value})
