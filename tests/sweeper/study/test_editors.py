"""The JSON schema of studies: it admits what `run` admits, and marks what is misspelt."""

from __future__ import annotations

import json
import re

import pytest
from jsonschema import Draft202012Validator

from sweeper.study import files, schema, yamls
from sweeper.study.editors import EXAMPLE, json_schema, template
from sweeper.study.schema import Study

FOUND = json_schema()
BASE = {"study": "s", "dataset": "synthetic", "methods": "joint"}


def flaws(study):
    return [error.json_path for error in Draft202012Validator(FOUND).iter_errors(study)]


def test_it_is_a_schema_and_plain_data():
    Draft202012Validator.check_schema(FOUND)
    assert json.loads(json.dumps(FOUND)) == FOUND


@pytest.mark.parametrize("name", files.shipped())
def test_every_shipped_study_keeps_to_it(name):
    assert flaws(yamls.read(files.find(name).read_text(), name)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": [{"name": "digits", "label": "a"}, "mine"]},
        {"methods": ["joint", {"name": "my_own", "space": {"x": 1}}]},
        {"encoders": [{"label": "a", "image": "convnet"}, {"m0": {"name": "mlp", "dim": 3}}]},
        {"conditions": [{"name": "gaussian-5", "modalities": ["m0"]}, "clean"]},
        {"search": {"sampler": {"name": "gp", "n_startup_trials": 3}}},
        {"augment": {"image": ["flip", {"name": "crop", "padding": 2}]}},
    ],
)
def test_short_and_long_forms_and_parts_of_plug_ins_are_admitted(changes):
    assert flaws({**BASE, **changes}) == []
    schema.parse({**BASE, **changes})


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"metods": "joint"}, "$"),
        ({"search": {"configuration": 3}}, "$.search"),
        ({"search": {"sampler": "tpa"}}, "$.search.sampler"),
        ({"search": {"seeds": [0.5]}}, "$.search.seeds[0]"),
        ({"report": {"rows": ["metod"]}}, "$.report.rows[0]"),
        ({"resources": {"cpus": 0}}, "$.resources.cpus"),
        ({"methods": [{"nam": "joint"}]}, "$.methods"),
    ],
)
def test_what_is_wrong_is_marked_where_it_stands(changes, place):
    assert flaws({**BASE, **changes}) == [place]


@pytest.mark.parametrize(
    ("place", "name"),
    [(("dataset",), "digits3"), (("methods",), "lfm"), (("fusion",), "film"), (("augment",), "flip")],
)
def test_names_are_proposed(place, name):
    node = FOUND["properties"]
    for key in place:
        node = node[key]
    assert f'"{name}"' in json.dumps(node)
    assert '"convnet"' in json.dumps(FOUND["$defs"]["EncoderSet"])


# a file to begin with


def test_a_new_study_explains_every_section_and_is_the_example(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(template("mine.yaml", "mine"))
    assert schema.load(str(path)) == Study.of(EXAMPLE, {"study": "mine"})
    assert max(map(len, path.read_text().splitlines())) <= 120
    for name, field in Study.model_fields.items():
        assert field.description, name
        assert re.search(rf"^(# )?{name}:", path.read_text(), re.MULTILINE), name


def test_what_a_new_study_has_commented_out_is_the_default(tmp_path):
    text = template("mine.yaml", "mine")
    shown = re.sub(r"^( *)# (?=( *)[a-z_]+:( |$))", r"\1", text, flags=re.MULTILINE)
    assert shown.count("\n#") < text.count("\n#")
    (tmp_path / "mine.yaml").write_text(shown)
    assert schema.load(str(tmp_path / "mine.yaml")) == Study.of(EXAMPLE, {"study": "mine"})
