"""Search spaces and studies are data that agree with the code: every method has a space, every study unfolds."""

from __future__ import annotations

import pytest
import yaml

from sweeper import bridge
from sweeper.models.schema.entries import REQUIRED, entries
from sweeper.service import session as service
from sweeper.study import arms, space
from sweeper.study import schema as study

METHODS = sorted(entries("method"))


def one_arm(method: str) -> arms.Arm:
    """Return a method's arm on the digits, whatever it requires given."""
    needed = {k: "left" for k, p in entries("method")[method].parameters.items() if p.default is REQUIRED}
    raw = {"study": "s", "dataset": "digits", "methods": [{"name": method, "space": needed}]}
    return arms.unfold(study.parse(raw))[0]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_space_with_its_citation(method):
    raw = yaml.safe_load((space.SPACES / f"{method}.yaml").read_text())
    assert raw["method"] == method
    assert len(raw["cite"]) > 20
    assert set(raw) <= {"method", "cite", "published", "space", "per_modality"}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_what_it_does_and_where_it_comes_from(method):
    doc = entries("method")[method].doc
    assert len(doc.split("\n\n")[0]) > 20
    if method != "joint":
        assert "Source" in doc


@pytest.mark.parametrize("method", METHODS)
def test_configuration_0_is_the_published_default(method):
    arm = one_arm(method)
    signature = {f"train.{k}": p.default for k, p in arms.bridge.settings.parameters().items()}
    signature |= entries("method")[method].defaults()
    published = space.read_file(method).get("published") or {}
    for name, value in arm.defaults().items():
        assert value == arm.fixed.get(name, published.get(name, signature.get(name)))
    assert set(arm.defaults()) - set(arm.fixed) <= set(arm.space)


@pytest.mark.parametrize("method", METHODS)
def test_every_domain_can_be_proposed_from(method):
    arm = one_arm(method)
    points = list(space.grid({n: d for n, d in arm.space.items() if d.kind == "choice"}, arm.fixed))
    assert points
    for values in points:
        arm.payload(values, "search", 0)


@pytest.mark.parametrize("name", study.shipped())
def test_every_shipped_study_unfolds(name):
    loaded = study.load(name)
    root = service.data_root(None)
    if root is None and any(d["name"] not in ("digits", "synthetic") for d in loaded.dataset):
        pytest.skip("SWEEPER_DATA names no folder of datasets")
    unfolded = arms.unfold(loaded, root)
    assert len({arm.key for arm in unfolded}) == len(unfolded)
    assert set(loaded.search.seeds).isdisjoint(loaded.final.seeds)


@pytest.mark.parametrize("name", study.shipped())
def test_every_shipped_study_takes_another_dataset(name):
    loaded = study.load(name, ["dataset=digits"])
    if name == "udml_figure3":  # whose question is about one modality
        own = ["conditions=[clean, gaussian-5@left]", "report.metrics=[weight/left, accuracy]"]
        loaded = study.load(name, ["dataset=digits", *own])
    for condition in loaded.conditions:
        bridge.check_condition(bridge.parse_condition(condition), bridge.load_dataset("digits", {}).spec)
    assert arms.unfold(loaded)
