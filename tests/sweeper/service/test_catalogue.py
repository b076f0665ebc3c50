"""What `sweeper methods` and `sweeper datasets` tell whoever chooses."""

from __future__ import annotations

import pytest

from sweeper import bridge
from sweeper.commands.catalogue import PARTS
from sweeper.models.errors import UserError
from sweeper.service import catalogue, terms
from sweeper.study import space

METHODS = bridge.entries("method")


def page(name: str) -> list[str]:
    """Return the lines on one method, its docstring left out."""
    text = "\n".join(catalogue.methods([name]))
    return text.replace(METHODS[name].doc, "").splitlines()


def table(name: str, title: str) -> list[list[str]]:
    """Return the cells of the rows of the table on a method's page that has this title, those left empty left out."""
    tables = "\n".join(page(name)).split("\n\n")
    (found,) = (own.strip("\n") for own in tables if own.strip("\n").startswith(f"{title}  "))
    return [[c.strip() for c in line.split("  ") if c.strip()] for line in found.splitlines()]


@pytest.fixture
def written(monkeypatch):
    """Replace what the files of search spaces hold."""

    def write(**files):
        monkeypatch.setattr(space, "read_file", lambda name: files.get(name, {}))

    return write


# all methods


def test_a_method_is_two_lines_that_tell_it_from_others():
    lines = list(catalogue.methods([]))
    assert lines[0].split() == ["method", "paper", "year", "tasks", "modalities", "hooks"]
    (at,) = (i for i, line in enumerate(lines) if line.startswith("ogm "))
    assert lines[at].split("  ")[0] == "ogm"
    assert [c.strip() for c in lines[at].split("  ") if c] == [
        "ogm", "Peng et al., CVPR", "2022", "classification", "2 or more", "modulate"
    ]  # fmt: skip
    assert lines[at + 1].startswith("  Scale each encoder's gradient by a coefficient")


def test_a_method_without_a_search_space_is_listed_too(written):
    written()
    lines = "\n".join(catalogue.methods([])).splitlines()
    (ogm,) = (line.split() for line in lines if line.startswith("ogm "))
    assert ogm == ["ogm", "classification", "2", "or", "more", "modulate"]


def test_nothing_is_wider_than_a_terminal():
    lines = "\n".join(catalogue.methods([])).splitlines() + [line for name in METHODS for line in page(name)]
    for kind in PARTS.values():
        pages = [*catalogue.parts(kind, []), *catalogue.parts(kind, list(bridge.entries(kind)))]
        lines += "\n".join(pages).splitlines()
    assert max(map(len, lines)) <= catalogue.WIDTH


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (("classification", "multilabel", "regression", "segmentation"), "any"),
        (("classification", "multilabel", "segmentation"), "any but regression"),
        (("classification", "multilabel"), "classification, multilabel"),
    ],
)
def test_tasks_in_words(tasks, said):
    assert any(m.facts["tasks"] == tasks and catalogue._tasks(m) == said for m in METHODS.values())


@pytest.mark.parametrize(
    ("bounds", "said"), [((1, None), "any"), ((2, None), "2 or more"), ((2, 3), "2 to 3"), ((2, 2), "2")]
)
def test_modalities_in_words(bounds, said, monkeypatch):
    method = METHODS["ogm"]
    monkeypatch.setitem(method.facts, "modalities", bounds)
    assert catalogue._modalities(method) == said


# one method


def test_a_method_tells_its_citation_and_what_it_fits():
    assert page("tmc")[:2] == ["tmc", "==="]
    assert table("tmc", "paper") == [
        ["paper", space.read_file("tmc")["cite"]],
        ["tasks", "classification"],
        ["modalities", "any"],
        ["fusion", "none"],
        ["hooks", "forward, objectives"],
    ]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("greedy", "mmtm, which it is made for"),
        ("qmf", "none"),
        ("joint", "any"),
        ("udml", "concat, film, gated, lstm, mean, sum, weighted"),
    ],
)
def test_a_method_tells_its_fusion(method, said):
    assert ["fusion", said] in table(method, "paper")


def test_a_parameter_tells_its_default_its_range_and_what_presets_take():
    header, *rows = table("udml", "parameter")
    assert header == ["parameter", "default", "published", "released", "admissible"]
    assert ["gamma", "1.0", "4.0", "a number from 0"] in rows
    assert ["train.lr", "0.01", "0.001", "0.001", "a number from 0"] in rows
    assert rows[-1] == [catalogue.PRESETS]
    assert ["modality", "required", "text"] in table("unimodal", "parameter")


def test_a_published_value_is_told_where_it_is_not_the_default():
    header, *rows = table("rw", "parameter")
    assert header == ["parameter", "default", "published", "admissible"]
    assert ["match", "clean", "matched", "clean | pooled | matched"] in rows
    assert space.read_file("joint")["published"] == {"train.lr": bridge.settings.parameters()["lr"].default}
    assert table("joint", "parameter") == [
        ["parameter", "default", "admissible"],
        ["train.least_steps", "0", "a whole number from 0"],
        ["train.batch_size", "64", "a whole number from 1"],
        ["train.lr", "0.01", "a number from 0"],
        ["train.weight_decay", "0.0001", "a number from 0"],
        ["train.optimizer", "sgd", "sgd | adam | adamw"],
    ]


def test_the_space_tells_domains_scales_and_conditions():
    header, *rows = table("lfm", "search space")
    assert header == ["search space", "values", "when"]
    assert [name for name, *_ in rows] == list(space.read_file("lfm")["space"])
    assert ["tau", "0.02 … 1.0, log"] in rows
    assert ["alpha", "0.0 … 1.0", "schedule = constant"] in rows
    assert ["solver_steps", "1 … 20, log", "schedule = learned, solver = neumann | cg"] in rows


def test_what_all_methods_are_searched_over_is_told_but_where_nothing_trains():
    assert ["train.batch_size", "32 | 64 | 128"] in table("lfm", "common space")
    assert not any(line.startswith(("common space", "train.")) for line in page("linear"))


def test_several_domains_of_one_parameter_are_several_lines(written):
    rates = [
        {"float": [0.001, 0.3], "log": True, "when": {"train.optimizer": "sgd"}},
        {"float": [0.0001, 0.01], "when": {"train.optimizer": ["adam", "adamw"]}},
    ]
    written(common={"space": {"train.lr": rates, "train.clip": 40.0}})
    assert page("joint")[-3:] == [
        "train.lr      0.001 … 0.3, log  train.optimizer = sgd",
        "              0.0001 … 0.01     train.optimizer = adam | adamw",
        "train.clip    40.0, fixed",
    ]


# datasets and other parts


@pytest.mark.parametrize("kind", PARTS.values())
def test_all_of_a_kind_are_told_in_brief_and_one_in_full(kind):
    every = bridge.entries(kind)
    told = [line.partition(":")[0] for line in catalogue.parts(kind, []) if not line.startswith(" ")]
    assert told == list(every)
    name, part = next((name, part) for name, part in every.items() if part.parameters)
    title, *_ = full = list(catalogue.parts(kind, [name]))
    assert title == name
    assert {line.split()[0] for line in full if line} > set(part.parameters)


def test_a_dataset_tells_its_options():
    lines = "\n".join(catalogue.parts("dataset", [])).splitlines()
    at = next(
        i for i, line in enumerate(lines) if line.startswith("digits: scikit-learn's real scanned digits")
    )
    assert lines[at + 1].strip() == "options: standardize"
    assert "standardize  feature  feature | modality" in list(catalogue.parts("dataset", ["digits"]))
    assert "path                 required  a path" in list(catalogue.parts("dataset", ["arrays"]))


PUBLISHED = [name for name, e in bridge.entries("dataset").items() if "PUBLISHED" in e.source.definitions]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_dataset_tells_what_to_download_and_where_to_put_it(name):
    known, lines = bridge.published(name), "\n".join(catalogue.parts("dataset", [name])).splitlines()
    text = "\n".join(lines)
    for line in known.layout.splitlines():
        assert f"    {line}" in lines
    assert f"licence      {known.licence}"[: catalogue.WIDTH] in text
    assert all(f"{split} {count:,}" in text for split, count in known.counts.items())
    assert text.count("\n  - ") == len(known.flaws)
    assert max(map(len, lines)) <= catalogue.WIDTH


def test_datasets_in_brief_tell_nothing_of_downloads():
    assert not any("licence" in line or "SWEEPER_DATA" in line for line in catalogue.parts("dataset", []))


# conditions and metrics


def test_conditions_tell_levels_inputs_and_what_they_do():
    lines = list(terms.conditions([]))
    assert "white: level -100 to 100, on audio" in lines
    page = "\n".join(terms.conditions(["salt"]))
    assert "of level 0 to 100; at level 0 nothing changes." in page
    assert "Set a share ε/100 of numbers" in page
    assert "mode qmf, on  what it does" in page
    assert "share       0.5      a number from 0 to 1" in page
    with pytest.raises(UserError, match="did you mean 'gaussian'"):
        list(terms.conditions(["gausian"]))


def test_every_metric_says_what_it_is():
    rows = list(terms.metrics([]))
    (accuracy,) = (row for row in rows if row.startswith("accuracy "))
    assert accuracy.split("  ")[0] == "accuracy"
    assert "rows whose most probable class is the target" in accuracy
    page = "\n".join(terms.metrics(["mae", "gap"]))
    assert "better  lower" in page
    assert "tasks   any" in page
    assert all(own["meaning"] and own["tasks"] for own in terms.measures().values())
    assert max(map(len, "\n".join(rows).splitlines())) <= catalogue.WIDTH


def test_a_method_of_which_nothing_is_searched_says_so(written):
    none, own = "Nothing of it is searched, ", "None of its own parameters is searched, "
    assert not any(
        line.startswith((none, own)) for name in ("ogm", "joint", "unimodal") for line in page(name)
    )
    written(common={"space": {"train.lr": {"float": [0.1, 1.0]}}})
    assert any(line.startswith(own) for line in page("ogm"))
    assert not any(line.startswith((none, own)) for line in page("joint"))
    written()
    assert any(line.startswith(none) for line in page("ogm"))
