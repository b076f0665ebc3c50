"""Samplers as a study names them: by a name, or with options; what ledgers and tables say of them."""

from __future__ import annotations

import pytest

from sweeper.ledger.records import Announced
from sweeper.study.samplers import OPTIONS, guided_from, name_of, options_of, words
from sweeper.study.schema import Search


@pytest.mark.parametrize("name", OPTIONS)
def test_a_sampler_is_given_by_its_name_alone_or_in_a_mapping(name):
    assert Search(sampler=name).sampler == Search(sampler={"name": name}).sampler == name
    assert options_of(name) == {key: p.default for key, p in OPTIONS[name].items()}


def test_options_that_are_set_are_kept_and_said():
    search = Search(sampler={"name": "gp", "n_startup_trials": 9})
    assert search.sampler == {"name": "gp", "n_startup_trials": 9}
    assert name_of(search.sampler) == "gp"
    assert options_of(search.sampler) == {"n_startup_trials": 9, "deterministic_objective": False}
    assert words(search.sampler) == "gp (n_startup_trials 9)"
    assert Search.model_validate(search.model_dump()) == search


@pytest.mark.parametrize(
    ("sampler", "first"),
    [
        ("tpe", 8),
        ({"name": "tpe", "n_startup_trials": 2}, 5),
        ("gp", 8),
        ("nsgaii", 11),
        ("random", None),
        ("cmaes", None),  # its first generation is drawn around the middle
    ],
)
def test_the_first_configuration_that_depends_on_results(sampler, first):
    assert guided_from(sampler, 4) == first


@pytest.mark.parametrize("sampler", ["tpe", {"name": "cmaes", "popsize": 6}])
def test_an_announcement_in_a_ledger_holds_a_sampler_as_text_or_with_options(sampler):
    axes = {"dataset": "d", "encoders": "e", "fusion": "f", "method": "m"}
    plain = {
        "study": "s",
        "arms": [{"key": "a", "axes": axes}],
        "search": {"sampler": sampler, "seeds": [0]},
        "final": {},
        "select": {},
        "layout": {},
    }
    found = Announced.of(plain)
    assert found.search.sampler == sampler
    assert Announced.of(found.raw()) == found
