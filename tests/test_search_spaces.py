"""Search spaces and studies are data that agree with the code: every method has a space, every study unfolds."""

from __future__ import annotations

import pytest
import yaml

from sweeper import bridge
from sweeper.bridge import Parameter
from sweeper.commands.base import data_root
from sweeper.models.errors import UserError
from sweeper.models.schema.entries import entries
from sweeper.models.schema.parameters import REQUIRED
from sweeper.service.catalogue import CITATION
from sweeper.study import files, space
from sweeper.study import schema as study
from sweeper.study.arms import Arm
from sweeper.study.runs import Run
from sweeper.study.space import Cases, Domain
from sweeper.study.unfold import unfold

METHODS = sorted(entries("method"))
BASELINES = {"joint", "linear", "uniform", "unimodal", "unimodal_sum"}
PRESETS = {"udml": ["released"]}  # beside what is published
# studies whose question is about a modality or another task, and how they ask it of the halves of digits
OF_DIGITS = {
    "cl_dmdf_cmu_mosei": ["select.metric=accuracy", "report.metrics=[accuracy]"],
    "cl_dmdf_mm_imdb": ["select.metric=accuracy", "report.metrics=[accuracy]"],
    "cl_dmdf_nyu_depth_v2": [
        *("encoders={}", "fusion=concat", "select.metric=accuracy"),
        "report.metrics=[accuracy]",
    ],
    "udml_figure1": ["conditions=[clean, gaussian-5@left]", "report.metrics=[weight/left, accuracy]"],
    "udml_figure3": ["conditions=[clean, gaussian-5@left]", "report.metrics=[weight/left, accuracy]"],
    "grid_digits": ["conditions=[clean, gaussian-5@left]"],
    "lfm_table3": ["report.metrics=[map, map/left, map/right, gap]"],
    "lfm_table5": ["report.metrics=[accuracy/left, accuracy/right, accuracy]"],
    "two_stage_figF4": ["conditions=[clean, gaussian-5@left]", "report.metrics=[accuracy]"],
    "udml_table2": ["select.metric=accuracy", "report.metrics=[accuracy]"],
}
AT_HAND = {"grid_digits"}  # among the published datasets
# studies of published datasets, which have to be downloaded
DOWNLOADED = [
    name
    for name in files.shipped()
    if any(bridge.published(d["name"]) and d["name"] not in AT_HAND for d in study.load(name).dataset)
]


def one_arm(method: str, preset: str = "published") -> Arm:
    """Return a method's arm on the digits, whatever it requires given."""
    needed = {k: "left" for k, p in entries("method")[method].parameters.items() if p.default is REQUIRED}
    entry = {"name": method, "preset": preset, "space": needed}
    return unfold(study.parse({"study": "s", "dataset": "digits", "methods": [entry]}))[0]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_space_with_its_citation(method):
    raw = yaml.safe_load((space.SPACES / f"{method}.yaml").read_text())
    assert raw["method"] == method
    presets = {"published", *PRESETS.get(method, ())}
    assert {"method", "cite", "space"} <= set(raw) <= {*space.OF_FILE} | presets


@pytest.mark.parametrize("method", METHODS)
def test_every_citation_has_authors_title_venue_and_year(method):
    """A baseline has no paper of its own; it is cited as it stands in another's."""
    cite = space.read_file(method)["cite"]
    found = CITATION.fullmatch(cite)
    assert found, cite
    assert 1990 <= int(found["year"]) <= 2026
    assert cite.startswith("as in ") == (method in BASELINES)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_what_it_does_and_where_it_comes_from(method):
    doc = entries("method")[method].doc
    assert len(doc.split("\n\n")[0]) > 20
    if method != "joint":
        assert "Source" in doc


@pytest.mark.parametrize("method", METHODS)
def test_configuration_0_is_the_published_default(method):
    arm = one_arm(method)
    signature = {f"train.{k}": p.default for k, p in bridge.settings.parameters().items()}
    signature |= entries("method")[method].defaults()
    published = space.read_file(method).get("published") or {}
    for name, value in arm.defaults().items():
        assert value == arm.fixed.get(name, published.get(name, signature.get(name)))
    assert set(arm.defaults()) - set(arm.fixed) <= set(arm.space)


@pytest.mark.parametrize("method", METHODS)
def test_every_domain_can_be_proposed_from(method):
    arm = one_arm(method)
    points = list(
        space.grid(
            {n: d for n, d in arm.space.items() if isinstance(d, Domain) and d.kind == "choice"}, arm.fixed
        )
    )
    assert points
    for values in points:
        arm.payload(values, "search", 0)


def within(parameter: Parameter, domain: Domain | Cases) -> bool:
    """Say whether a parameter admits both ends and the middle of a domain, or each of its choices."""
    if isinstance(domain, Cases):
        return all(within(parameter, own) for own in domain.domains)
    values = domain.choices or (*domain.bounds, domain.at(0.5))
    return all(parameter.admit(value, "here") == value for value in values)


@pytest.mark.parametrize(
    ("method", "preset"), [(m, preset) for m in METHODS for preset in ("published", *PRESETS.get(m, ()))]
)
def test_every_space_and_preset_is_within_the_ranges_of_its_method(method, preset):
    arm = one_arm(method, preset)
    settings = bridge.settings.parameters()
    schema = {f"train.{k}": p for k, p in settings.items()} | arm.method.parameters
    own = space.read_file(method)
    for name, given in own["space"].items():
        assert within(schema[name], space.parse(name, given, schema[name], method))
    everyones = space.read_file("common")["space"] if arm.method.facts["trains"] else {}
    for name, given in everyones.items():
        if space.is_domain(given):
            assert within(schema[name], arm.space[name])
            assert arm.space[name] == space.parse(name, given, schema[name], "common")
        else:
            assert arm.fixed[name] == schema[name].admit(given, name)
    values = own.get(preset) or {}
    assert arm.published == values == {name: schema[name].admit(v, name) for name, v in values.items()}
    assert arm.base.items() >= {name: v for name, v in values.items() if name not in arm.fixed}.items()


def test_every_encoders_part_of_the_space_agrees_with_the_code():
    for path in sorted((space.SPACES / "encoders").glob("*.yaml")):
        own = space.read_file(f"encoders/{path.stem}")
        assert {"encoder", "space"} <= set(own) <= {"encoder", "when", "published", "space"}
        encoder = entries("encoder")[own["encoder"]]
        assert path.stem == encoder.name
        for name, admissible in own.get("when", {}).items():
            assert [encoder.parameters[name].admit(v, name) for v in admissible] == admissible
        settings = {f"train.{k}": p for k, p in bridge.settings.parameters(["*"]).items()}
        for name, given in own["space"].items():
            if space.is_domain(given):
                assert within(settings[name], space.parse(name, given, settings[name], path.name))
            else:
                assert settings[name].admit(given, name) == given
        for name, value in own.get("published", {}).items():
            assert space.parse(name, own["space"][name], settings[name], path.name).holds(value)


def test_lfm_and_rw_are_searched_as_published():
    learned = (("schedule", ("learned",)),)
    assert one_arm("lfm").space["eta_alpha"] == Domain("float", (0.003, 0.1), log=True, when=learned)
    arm = one_arm("rw")
    first = arm.payload(arm.defaults(), "search", 0)["method"]
    assert arm.published == {"match": "matched", "least": None}
    assert (first["match"], first["least"]) == ("matched", None)


@pytest.mark.parametrize("name", [name for name in files.shipped() if name not in DOWNLOADED])
def test_every_shipped_study_unfolds(name):
    loaded = study.load(name)
    root = data_root(None)
    if root is None and any(d["name"] not in ("digits", "synthetic") for d in loaded.dataset):
        pytest.skip("SWEEPER_DATA names no folder of datasets")
    unfolded = unfold(loaded, root)
    assert len({arm.key for arm in unfolded}) == len(unfolded)
    assert set(loaded.search.seeds).isdisjoint(loaded.final.seeds)


@pytest.mark.parametrize("name", DOWNLOADED)
def test_a_study_is_checked_as_a_whole_before_it_is_refused_for_want_of_data(name, tmp_path, monkeypatch):
    """Data are read last, after all names, options and ranges; of text encoders nothing is there but words."""
    from tokenizers import Tokenizer, models

    loaded, found = study.load(name), tmp_path / "models"
    monkeypatch.setenv("SWEEPER_MODELS", str(found))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for own in loaded.dataset:
        folder = found / str(({**entries("dataset")[own["name"]].defaults(), **own}).get("tokenizer"))
        folder.mkdir(parents=True, exist_ok=True)
        Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(folder / "tokenizer.json"))
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match=r"^dataset '\w+': .* does not exist; put .* there") as told:
        unfold(loaded, tmp_path / "data")
    assert "\n" not in str(told.value)
    assert set(loaded.search.seeds).isdisjoint(loaded.final.seeds)


@pytest.mark.parametrize("name", files.shipped())
def test_every_shipped_study_takes_another_dataset(name):
    loaded = study.load(name, ["dataset=digits", *OF_DIGITS.get(name, ())])
    for condition in loaded.conditions:
        bridge.check_condition(bridge.parse_condition(condition), bridge.inputs("digits", {}), "digits")
    assert unfold(loaded)


@pytest.mark.parametrize("name", ["two_stage_tableF1", "two_stage_figF3"])
def test_second_stages_that_are_compared_share_their_first_one(name):
    """Whatever configuration is chosen for each: nothing but the learning rate is searched."""
    loaded = study.load(name, ["dataset=digits"])
    arms = [arm for arm in unfold(loaded) if arm.method.name == "rw"]
    assert len({Run(arm, 0, arm.defaults(), "final", 100).training for arm in arms}) == 1
    assert all(arm.size(loaded.search) == 1 or set(arm.space) == {"train.lr"} for arm in arms)


def test_the_benchmark_compares_every_method_that_learns_to_classify():
    named = [entry.name for entry in study.load("imbalance_benchmark").methods]
    facts = {m: entries("method")[m].facts for m in METHODS}
    learns = {m for m, own in facts.items() if own["trains"] or own["floor"]}
    assert sorted(named) == [m for m in METHODS if m in learns and "classification" in facts[m]["tasks"]]
