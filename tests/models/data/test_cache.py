"""Datasets that stay loaded: as many as fit, the least recently used go first, the one asked for always stays."""

import pytest

from sweeper.models.data import cache
from sweeper.models.data.cache import Datasets
from sweeper.models.errors import UserError

SMALL = {"train": 8, "validation": 8, "test": 8}


@pytest.fixture
def loaded(monkeypatch):
    """The data seeds of the datasets that were loaded, in order."""
    seen, load = [], cache.load_dataset
    monkeypatch.setattr(
        cache,
        "load_dataset",
        lambda name, options, **more: seen.append(options["data_seed"]) or load(name, options, **more),
    )
    return seen


def get(kept, seed, **options):
    return kept.get("synthetic", {**SMALL, "data_seed": seed, **options})


def size():
    return cache.load_dataset("synthetic", {**SMALL, "data_seed": 0}).bytes


def test_runs_of_several_datasets_load_each_once(loaded):
    kept = Datasets()
    first = [get(kept, seed) for seed in (0, 1, 2)]
    again = [get(kept, seed) for seed in (2, 0, 1, 0)]
    assert loaded == [0, 1, 2]
    assert [found is first[seed] for found, seed in zip(again, (2, 0, 1, 0), strict=True)] == [True] * 4


def test_the_least_recently_used_goes_when_there_are_too_many_bytes(loaded):
    kept = Datasets(2 * size())
    loaded.clear()
    for seed in (0, 1, 0, 2):  # the last makes room by giving up 1
        get(kept, seed)
    assert loaded == [0, 1, 2]
    get(kept, 0)
    assert loaded == [0, 1, 2]
    get(kept, 1)
    assert loaded == [0, 1, 2, 1]
    assert len(kept.kept) == 2


@pytest.mark.parametrize("most", [0, 1])
def test_the_one_asked_for_stays_however_large_it_is(loaded, most):
    kept = Datasets(most)
    assert get(kept, 0) is get(kept, 0)
    assert loaded == [0]
    assert get(kept, 1) is get(kept, 1)
    assert loaded == [0, 1]
    assert len(kept.kept) == 1


def test_bytes_are_those_of_every_array():
    found = cache.load_dataset("synthetic", {**SMALL, "missing": 0.3, "kind": "sequence", "shorter": 0.5})
    parts = (found.inputs, found.present, found.lengths)
    arrays = [found.target, *(array for part in parts for array in part.values())]
    assert found.bytes == sum(array.nbytes for array in arrays)
    assert len(arrays) == 7


def test_other_options_folders_and_orders_of_options_are_told_apart(loaded, tmp_path):
    kept = Datasets()
    one = get(kept, 0, dim=3)
    assert get(kept, 0, dim=4) is not one
    assert kept.get("synthetic", {"dim": 3, "data_seed": 0, **SMALL}) is one
    assert kept.get("synthetic", {**SMALL, "data_seed": 0, "dim": 3}, root=tmp_path) is not one


def test_what_cannot_be_loaded_is_not_kept():
    kept = Datasets()
    with pytest.raises(UserError):
        kept.get("synthetic", {"train": 0})
    assert not kept.kept
