"""Search spaces: conditions, scales, grids, and what a user can get wrong."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from typing import Literal

import pytest

from sweeper.bridge import InputSpec
from sweeper.models.errors import UserError
from sweeper.models.schema.parameters import REQUIRED, Parameter
from sweeper.models.schema.ranges import ShareBelow1
from sweeper.study import space, unfold
from sweeper.study.schema import parse
from sweeper.study.searched import space_of
from sweeper.study.space import Cases, Domain

FLOAT, INT, MODE = Parameter(float, 0.1), Parameter(int, 1), Parameter(Literal["a", "b", "c"], "a")
SHARE = Parameter(ShareBelow1, 0.5)

NESTED = {
    "depth": Domain("int", (1, 3), when=(("solver", ("cg",)),), points=3),
    "solver": Domain("choice", choices=("none", "cg"), when=(("mode", ("learned", "both")),)),
    "mode": Domain("choice", choices=("fixed", "learned", "both")),
}


def arm_of(method, own, **changes):
    raw = {"study": "s", "dataset": "synthetic", "methods": [{"name": method, "space": own}], **changes}
    (arm,) = unfold.unfold(parse(raw))
    return arm


# Domains


def test_a_log_domain_is_even_in_the_logarithm():
    domain = Domain("float", (0.001, 0.1), log=True, points=5)
    assert domain.grid() == [0.001, 0.00316227766017, 0.01, 0.0316227766017, 0.1]
    assert domain.at(0.5) == 0.01


def test_a_linear_domain_is_even():
    assert Domain("float", (0.0, 1.0), points=5).grid() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert Domain("float", (0.3, 0.3)).grid() == [0.3]


def test_the_grid_of_a_short_range_of_whole_numbers_is_all_of_them():
    assert Domain("int", (1, 4), points=5).grid() == [1, 2, 3, 4]
    assert Domain("int", (1, 100), log=True, points=3).grid() == [1, 10, 100]


@pytest.mark.parametrize("log", [False, True])
def test_every_whole_number_of_a_domain_has_its_share(log):
    domain = Domain("int", (1, 4), log=log)
    found = [domain.at((i + 0.5) / 1000) for i in range(1000)]
    counts = [found.count(k) for k in range(1, 5)]
    assert sum(counts) == 1000
    assert all(type(value) is int for value in found)
    assert counts == sorted(counts, reverse=True)
    assert (counts[0] > 2 * counts[3]) if log else (counts == [250] * 4)


def test_every_choice_has_its_share_and_none_is_beyond_the_end():
    domain = Domain("choice", choices=("a", "b", "c"))
    assert [domain.at(share) for share in (0.0, 0.33, 0.34, 0.67, 1.0)] == ["a", "a", "b", "c", "c"]


@pytest.mark.parametrize(
    ("given", "parameter", "domain"),
    [
        ({"float": [0.1, 1], "log": True}, FLOAT, Domain("float", (0.1, 1.0), log=True)),
        ({"float": [0, 1]}, Parameter(float | None, None), Domain("float", (0.0, 1.0))),
        ({"int": [1, 9], "points": 3}, INT, Domain("int", (1, 9), points=3)),
        ({"choice": [1, 0.5]}, FLOAT, Domain("choice", choices=(1.0, 0.5))),
        ({"choice": [None, 2]}, Parameter(float | None, None), Domain("choice", choices=(None, 2.0))),
        ({"choice": ["a"], "when": {"x": 1}}, MODE, Domain("choice", choices=("a",), when=(("x", (1,)),))),
    ],
)
def test_a_domain_is_read_with_values_of_the_parameters_type(given, parameter, domain):
    found = space.parse("x", given, parameter, "here")
    assert found == domain
    assert repr(found) == repr(domain)  # 1.0 is not 1 in a key


@pytest.mark.parametrize(
    ("given", "parameter", "sentence"),
    [
        (0.1, FLOAT, r"is 0.1; a domain is {float: \[low, high\]}, {int"),
        ({"flot": [0, 1]}, FLOAT, "unknown key 'flot'.*did you mean 'float'"),
        ({"float": [0, 1], "lag": True}, FLOAT, "unknown key 'lag'.*did you mean 'log'"),
        ({}, FLOAT, "names 0 of float, int, choice; it needs exactly one"),
        ({"float": [0, 1], "int": [0, 1]}, FLOAT, "names 2 of float, int, choice"),
        ({"choice": []}, FLOAT, r"is \[\]; choice takes a list with at least one value"),
        ({"float": 3}, FLOAT, "is 3; float takes a list"),
        ({"float": None}, FLOAT, "is None; float takes a list"),
        ({"float": [1, 0]}, FLOAT, r"is \[1, 0\]; give \[low, high\], numbers with low ≤ high"),
        ({"float": [0, 1, 2]}, FLOAT, r"is \[0, 1, 2\]; give \[low, high\]"),
        ({"float": ["a", "b"]}, FLOAT, r"is \['a', 'b'\]; give \[low, high\]"),
        ({"float": [True, False]}, FLOAT, r"give \[low, high\]"),
        ({"float": [0, math.inf]}, FLOAT, r"is \[0, inf\]; give \[low, high\]"),
        ({"float": [math.nan, 1]}, FLOAT, r"give \[low, high\]"),
        ({"float": [0, 1], "log": True}, FLOAT, "begins at 0.0 on a log scale; low must be above 0"),
        ({"float": [0, 1], "log": "yes"}, FLOAT, "log is 'yes'; admissible: true | false"),
        ({"float": [0, 1], "points": 0}, FLOAT, "points is 0; admissible: a whole number from 1"),
        ({"float": [0, 1], "points": 2.5}, FLOAT, "points is 2.5; admissible"),
        ({"float": [0, 1], "when": ["y"]}, FLOAT, r"when is \['y'\]; give {other parameter: value"),
        ({"float": [1, 4]}, INT, "is 1.0; admissible: a whole number"),
        ({"int": [1, 4]}, FLOAT, "is an int domain; admissible: a number"),
        ({"int": [1.5, 4]}, INT, "is 1.5; admissible: a whole number"),
        ({"float": [0, 1]}, MODE, r"is 0.0; admissible: a \| b \| c"),
        ({"choice": ["a", "d"]}, MODE, r"is 'd'; admissible: a \| b \| c"),
        ({"choice": [1, 1.0]}, FLOAT, "names a value twice"),
        ({"float": [0, 1]}, SHARE, "is 1.0; admissible: a number from 0 to below 1"),
        ({"float": [-0.1, 0.5]}, SHARE, "is -0.1; admissible: a number from 0 to below 1"),
        ({"choice": [0.5, 1]}, SHARE, "is 1; admissible: a number from 0 to below 1"),
    ],
)
def test_a_wrong_domain_is_told_in_one_sentence(given, parameter, sentence):
    with pytest.raises(UserError, match=sentence) as told:
        space.parse("x", given, parameter, "method 'm'")
    assert "space of 'x'" in str(told.value)
    assert "method 'm'" in str(told.value)
    assert "\n" not in str(told.value)


# Conditions


def test_parameters_come_after_those_their_conditions_name():
    assert [name for name, _ in space.ordered(NESTED)] == ["mode", "solver", "depth"]


def test_conditions_in_a_circle_are_told():
    circle = {
        "a": Domain("choice", choices=(1,), when=(("b", (1,)),)),
        "b": Domain("choice", choices=(1,), when=(("a", (1,)),)),
    }
    with pytest.raises(UserError, match="conditions of a, b form a circle"):
        space.ordered(circle)


@pytest.mark.parametrize(
    ("mode", "solver", "left"),
    [
        ("fixed", "cg", {"mode"}),
        ("learned", "none", {"mode", "solver"}),
        ("both", "cg", {"mode", "solver", "depth"}),
    ],
)
def test_inactive_parameters_are_dropped_and_what_depends_on_them(mode, solver, left):
    given = {"depth": 2, "solver": solver, "mode": mode}
    found = space.filled(NESTED, {"other": 0}, lambda name, _: given[name])
    assert set(found) == left | {"other"}


def test_a_conditional_grid_holds_every_configuration_once():
    found = list(space.grid(NESTED, {"other": 0}))
    expected = [{"mode": "fixed"}]
    for mode in ("learned", "both"):
        expected.append({"mode": mode, "solver": "none"})
        expected += [{"mode": mode, "solver": "cg", "depth": depth} for depth in (1, 2, 3)]
    assert found == [{"other": 0, **values} for values in expected]


def test_a_plain_grid_is_the_product():
    domains = {"a": Domain("choice", choices=(1, 2)), "b": Domain("float", (0.0, 1.0), points=2)}
    assert list(space.grid(domains, {})) == [{"a": a, "b": b} for a in (1, 2) for b in (0.0, 1.0)]


def test_many_parameters_of_which_few_are_active_do_not_multiply():
    mode = Domain("choice", choices=tuple(range(40)))
    domains = {f"x{i}": Domain("float", (0.0, 1.0), when=(("mode", (i,)),)) for i in range(40)}
    assert len(list(space.grid({**domains, "mode": mode}, {}))) == 40 * 5


RATES = Cases(
    (
        Domain("float", (0.1, 1.0), points=2, when=(("mode", ("fixed",)),), case=1),
        Domain("int", (2, 3), points=2, when=(("mode", ("learned", "both")),), case=2),
    )
)


def test_a_parameter_may_have_a_domain_for_each_case():
    given = [
        {"float": [0.1, 1.0], "points": 2, "when": {"mode": "fixed"}},
        {"int": [2, 3], "points": 2, "when": {"mode": ["learned", "both"]}},
    ]
    assert space.is_domain(given)
    assert space.parse("rate", given, Parameter(float | int, 1), "here") == RATES
    domains = {"rate": RATES, "mode": NESTED["mode"]}
    expected = [("fixed", 0.1), ("fixed", 1.0), ("learned", 2), ("learned", 3), ("both", 2), ("both", 3)]
    assert [(v["mode"], v["rate"]) for v in space.grid(domains, {})] == expected
    given = {"mode": "none", "rate": 2}
    assert space.filled(domains, {}, lambda name, _: given[name]) == {"mode": "none"}


def test_each_case_says_when():
    with pytest.raises(UserError, match="lists several domains; each needs a `when` of its own"):
        space.parse("x", [{"float": [0, 1], "when": {"y": 1}}, {"float": [1, 2]}], FLOAT, "here")


@pytest.mark.parametrize("given", [[], [0.1, 0.2], ["a"], 0.1, "a", None, [{"float": [0, 1]}, 3]])
def test_other_lists_are_values(given):
    assert not space.is_domain(given)


# A method's space in a study


def test_an_optimizer_that_a_study_fixes_decides_the_learning_rates():
    searched, sgd, adam = (
        arm_of("mla", {}, train=t) for t in ({}, {"optimizer": "sgd"}, {"optimizer": "adam"})
    )
    assert searched.defaults()["train.optimizer"] == "sgd"
    assert searched.defaults()["train.lr"] == sgd.defaults()["train.lr"] == 0.001
    assert sgd.space["train.lr"].bounds == (0.001, 0.3)
    assert adam.space["train.lr"].bounds == (0.0001, 0.01)
    assert arm_of("joint", {}, train={"optimizer": "sgd"}).defaults()["train.lr"] == 0.01
    # what is published is for SGD
    assert arm_of("joint", {}, train={"optimizer": "adam"}).defaults()["train.lr"] == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("train", "least"),
    [({}, 600), ({"epochs": 3}, 0), ({"epochs": 3, "least_steps": 5}, 5), ({"lr": 0.1}, 600)],
)
def test_few_rows_are_passed_over_more_often_where_a_study_does_not_count_epochs(train, least):
    own = {f"train.{name}": value for name, value in train.items()}
    for arm in (arm_of("joint", {}, train=train), arm_of("joint", own), arm_of("joint", {}, space=own)):
        assert arm.payload(arm.defaults(), "search", 0)["train"]["least_steps"] == least


@pytest.mark.parametrize("train", [{}, {"epochs": 3}, {"lr": 0.1}])
def test_what_trains_nothing_is_the_same_run_however_long_others_train(train):
    arm, plain = (arm_of("linear", {"modality": None}, train=t) for t in (train, {}))
    assert arm.key == plain.key


def test_what_a_study_fixes_decides_conditions():
    learned = arm_of("lfm", {"schedule": "learned", "solver": "cg"})
    assert set(learned.space) >= {"alpha0", "eta_alpha", "damping", "solver_steps"}
    assert not {"solver_lr", "alpha", "scale", "schedule", "solver"} & set(learned.space)
    assert all(domain.when == () for name, domain in learned.space.items() if not name.startswith("train."))


def test_a_parameter_whose_condition_depends_on_an_inactive_one_is_inactive():
    own = {"schedule": "constant", "damping": {"float": [0.1, 1.0], "when": {"solver": "cg"}}}
    arm = arm_of("lfm", own)
    assert not {"solver", "damping", "solver_steps", "alpha0"} & set(arm.space)
    assert "alpha" in arm.space


def test_a_condition_may_rest_on_a_default():
    narrow = {"float": [0.1, 0.2]}
    assert "noise" in arm_of("ogm", {"ge": True, "noise": narrow | {"when": {"ge": True}}}).space
    assert "noise" not in arm_of("ogm", {"noise": narrow | {"when": {"end": 0.25}}, "end": 1.0}).space


def test_the_study_overrides_the_methods_file_which_overrides_nothing_fixed():
    arm = arm_of("ogm", {"alpha": {"float": [1.0, 2.0]}}, train={"lr": 0.5}, space={"end": 0.5})
    assert arm.space["alpha"] == Domain("float", (1.0, 2.0))
    assert "train.lr" not in arm.space
    assert arm.fixed == {"train.least_steps": 600, "train.lr": 0.5, "end": 0.5}
    assert arm.base["train.lr"] == 0.5
    payload = arm.payload(arm.defaults(), "search", 0)
    assert payload["train"]["lr"] == 0.5
    assert payload["method"]["end"] == 0.5


def test_configuration_0_is_the_published_default_within_the_space():
    arm = arm_of("ogm", {})
    assert arm.published == {"train.lr": 0.001}
    assert arm.defaults()["train.lr"] == 0.001
    assert arm.defaults()["alpha"] == arm.method.defaults()["alpha"]
    given = {name: domain.given(arm.defaults()) for name, domain in arm.space.items()}
    assert set(arm.defaults()) == {name for name, own in given.items() if own} | set(arm.fixed)


@pytest.mark.parametrize(
    ("method", "own", "sentence"),
    [
        ("ogm", {"alpa": {"float": [0, 1]}}, "unknown hyper-parameter 'alpa' in method 'ogm'; did you mean 'alpha'"),
        ("ogm", {"tau": 0.1}, "unknown hyper-parameter 'tau' in method 'ogm'"),
        ("ogm", {"lr": 0.1}, "unknown hyper-parameter 'lr' in method 'ogm'.*train.lr"),
        ("ogm", {"alpha": "x"}, "method 'ogm': alpha is 'x'; admissible: a number"),
        ("ogm", {"alpha": {"float": [0, 1], "when": {"gee": True}}}, "'gee' in `when` of 'alpha'.*did you mean 'ge'"),
        ("ogm", {"alpha": {"float": [0, 1], "when": {"ge": "maybe"}}}, "`when` of 'alpha'.*is 'maybe'; admissible"),
        (
            "lfm",
            {"alpha": {"float": [0, 1], "when": {"schedule": "constnt"}}},
            r"is 'constnt'; admissible: learned \| constant",
        ),
        (
            "ogm",
            {"alpha": {"float": [0, 1], "when": {"end": 1.0}}, "end": {"choice": [1.0], "when": {"alpha": 0.5}}},
            "form a circle",
        ),
    ],
)  # fmt: skip
def test_a_wrong_space_is_told_in_one_sentence(method, own, sentence):
    with pytest.raises(UserError, match=sentence):
        arm_of(method, own)


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ({"eps": {"float": [0, 2]}}, "space of 'eps' is 2.0; admissible: a number from 0 to 1"),
        ({"eps": {"choice": [0.1, 1.5]}}, "space of 'eps' is 1.5; admissible: a number from 0 to 1"),
        ({"eps": 1.5}, "eps is 1.5; admissible: a number from 0 to 1"),
        ({"train.momentum": {"float": [0.5, 1]}}, "space of 'train.momentum' is 1.0; admissible: a number from 0 to"),
        ({"train.epochs": {"int": [0, 9]}}, "space of 'train.epochs' is 0; admissible: a whole number from 1"),
        ({"train.lr": -0.1}, "train.lr is -0.1; admissible: a number from 0"),
        ({"train.lr.m0": {"float": [-1, 0]}}, "space of 'train.lr.m0' is -1.0; admissible: a number from 0"),
        ({"train.lr": {"float": [0, 1], "when": {"eps": 3}}}, "`when` of 'train.lr' .* is 3; admissible: a number"),
    ],
)  # fmt: skip
def test_values_beyond_a_parameters_range_are_refused_with_what_is_admissible(own, sentence):
    with pytest.raises(UserError, match=sentence) as told:
        arm_of("label_smoothing", own)
    assert "method 'label_smoothing'" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"space": {"train.lr.lft": 0.1}},
        {"methods": [{"name": "ogm", "space": {"train.lr.lft": {"float": [0, 1]}}}]},
    ],
)
def test_a_modality_that_no_dataset_has_is_told_wherever_its_learning_rate_stands(changes):
    with pytest.raises(
        UserError, match=r"unknown hyper-parameter 'train\.lr\.lft' in space; did you mean 'train.lr"
    ):
        arm_of("ogm", {}, **changes)


def test_the_learning_rate_of_a_modality_goes_to_the_datasets_that_have_it():
    three = {"name": "synthetic", "modalities": 3}
    raw = {"study": "s", "dataset": ["synthetic", three], "methods": ["ogm"]}
    rates = {"train": {"lr.m0": 0.5}, "space": {"train.lr.m2": {"float": [0.1, 1.0]}}}
    two, more = unfold.unfold(parse({**raw, **rates}))
    assert (two.fixed["train.lr.m0"], more.fixed["train.lr.m0"]) == (0.5, 0.5)
    assert ("train.lr.m2" in two.space, "train.lr.m2" in more.space) == (False, True)
    assert "lr.m2" not in two.payload(two.defaults(), "search", 0)["train"]
    assert more.payload(more.defaults(), "search", 0)["train"]["lr.m2"] == more.base["train.lr"]


def test_a_parameter_without_default_must_be_given_or_searched():
    arm = arm_of("ogm", {})
    must = {**arm.method.parameters, "must": Parameter(float, REQUIRED)}
    method = replace(arm.method, parameters=must)
    study = parse({"study": "s", "dataset": "synthetic", "methods": ["ogm"]})
    given = (
        study,
        method,
        study.methods[0],
        study.encoders[0],
        dict.fromkeys(("m0", "m1"), InputSpec("vector", (8,))),
    )
    with pytest.raises(UserError, match=r"method 'ogm' needs 'must' \(a number\)"):
        space_of(*given, {})
    _, domains, _, _ = space_of(*given, {"must": {"float": [1.0, 3.0]}})
    assert replace(arm, method=method, space=domains).defaults()["must"] == 2.0


# An encoder's part of the space


OF_MLP = """
encoder: mlp
when: {layers: [2, 3]}
published: {train.lr.*: 0.00002}
space:
  train.optimizer: adamw
  train.decay: weights
  train.lr.*: {float: [0.000001, 0.0001], log: true}
"""


@pytest.fixture
def of_mlp(tmp_path, monkeypatch):
    """Search spaces in which a deep `mlp` brings a part of its own."""
    shutil.copytree(space.SPACES, tmp_path / "spaces")
    (tmp_path / "spaces" / "encoders").mkdir(exist_ok=True)
    (tmp_path / "spaces" / "encoders" / "mlp.yaml").write_text(OF_MLP)
    monkeypatch.setattr(space, "SPACES", tmp_path / "spaces")
    space.read_file.cache_clear()
    yield
    space.read_file.cache_clear()


def encoded(layers=2, own=None, method="ogm", **changes):
    return arm_of(method, own or {}, encoders={"m0": {"name": "mlp", "layers": layers}}, **changes)


@pytest.mark.usefixtures("of_mlp")
def test_an_encoder_brings_its_own_learning_rate_and_the_optimizer_that_it_needs():
    arm = encoded()
    assert arm.space["train.lr.m0"] == Domain("float", (1e-6, 1e-4), log=True)
    assert "train.lr.m1" not in arm.space
    assert (arm.fixed["train.optimizer"], arm.fixed["train.decay"]) == ("adamw", "weights")
    assert arm.space["train.lr"].bounds == (0.0001, 0.01)  # of all else
    first = arm.defaults()
    # where the encoder's file begins; the rate published with the method is for SGD
    assert (first["train.lr.m0"], first["train.lr"]) == (0.00002, pytest.approx(0.001))
    assert arm.payload(first, "search", 0)["train"]["lr.m0"] == 0.00002


@pytest.mark.usefixtures("of_mlp")
def test_an_encoder_brings_it_where_its_options_say_so_and_where_it_is_trained():
    for arm in (encoded(layers=1), arm_of("ogm", {}), encoded(method="linear", own={"modality": None})):
        assert not {"train.lr.m0", "train.decay"} & {*arm.space, *arm.fixed}
    by_kind = arm_of("ogm", {}, encoders={"vector": {"name": "mlp", "layers": 3}})
    assert {"train.lr.m0", "train.lr.m1"} <= set(by_kind.space)


@pytest.mark.usefixtures("of_mlp")
def test_a_study_says_otherwise_than_an_encoders_file():
    arm = encoded(train={"lr.m0": 0.5, "optimizer": "sgd"})
    assert (arm.fixed["train.lr.m0"], arm.fixed["train.optimizer"]) == (0.5, "sgd")
    assert arm.defaults()["train.lr"] == 0.001
    assert encoded(own={"train.lr.m0": {"float": [0.1, 1.0]}}).space["train.lr.m0"].bounds == (0.1, 1.0)
    alone = encoded(own={"modality": "m1"}, method="unimodal")
    assert "train.lr.m0" not in alone.space


# What a study says of one dataset


RATED = {
    "name": "synthetic",
    "label": "rated",
    "space": {"train.lr": 0.5, "train.lr.m0": 0.25, "train.momentum": 0.5},
}


def of_datasets(*datasets, **changes):
    study = parse({"study": "s", "dataset": list(datasets), "methods": ["ogm"], **changes})
    return {arm.axes["dataset"]: arm for arm in unfold.unfold(study)}


def test_a_dataset_brings_what_is_fixed_and_searched_on_it_alone():
    arms = of_datasets("digits", RATED | {"space": {**RATED["space"], "alpha": {"float": [0.5, 0.6]}}})
    assert {k: arms["rated"].fixed[k] for k in RATED["space"]} == RATED["space"]
    assert arms["rated"].space["alpha"].bounds == (0.5, 0.6)
    assert not {*RATED["space"]} & {*arms["digits"].fixed}
    assert arms["digits"].space["alpha"].bounds == (0.05, 3.0)
    assert "space" not in arms["rated"].dataset


def test_it_overrides_the_study_and_is_overridden_by_a_method():
    study = {"space": {"train.lr": 0.1}, "train": {"momentum": 0.9}}
    assert of_datasets(RATED, **study)["rated"].fixed["train.lr"] == 0.5
    assert of_datasets(RATED, **study)["rated"].fixed["train.momentum"] == 0.5
    methods = [{"name": "ogm", "space": {"train.lr": 0.2}}]
    assert of_datasets(RATED, methods=methods)["rated"].fixed["train.lr"] == 0.2


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        (3, "dataset 'synthetic': space is 3; admissible: a mapping"),
        (
            {"train.lr.spoken": 0.1},
            "unknown hyper-parameter 'train.lr.spoken' in space of dataset 'synthetic'",
        ),
        ({"train.lrr": 0.1}, "did you mean 'train.lr'"),
        ({"alhpa": 0.1}, "unknown hyper-parameter 'alhpa' in method 'ogm'; did you mean 'alpha'"),
    ],
)
def test_what_a_dataset_cannot_bring_is_refused(own, sentence):
    with pytest.raises(UserError, match=sentence):
        of_datasets({"name": "synthetic", "space": own})
