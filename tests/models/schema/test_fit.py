"""Parts that fit together are chosen, and those that do not are refused, each with those that would."""

import pytest

from sweeper.models.encoders.base import ImageEncoder
from sweeper.models.errors import UserError
from sweeper.models.schema.entries import entries, entry
from sweeper.models.schema.fit import (
    check_fusion,
    check_method,
    chosen_augmentations,
    chosen_encoders,
)
from sweeper.models.training.build import build_method
from sweeper.models.values import AXES, InputSpec
from tests.models.cases import synthetic

SHAPES = {
    "vector": (7,),
    "sequence": (5, 3),
    "image": (1, 8, 8),
    "video": (4, 1, 8, 8),
    "tokens": (6,),
    "audio": (300,),
}
ENCODERS = {name: e.facts for name, e in entries("encoder").items()}


def inputs(**kinds):
    return {m: InputSpec(kind, SHAPES[kind], vocabulary=9 * (kind == "tokens")) for m, kind in kinds.items()}


def chosen(named=None, reads="pooled", **kinds):
    """The names of the encoders chosen for modalities of these kinds."""
    found = chosen_encoders(inputs(**kinds), named or {}, reads, "mine")
    return {m: own["name"] for m, own in found.items()}


def refusal(named=None, reads="pooled", **kinds):
    with pytest.raises(UserError) as told:
        chosen(named, reads, **kinds)
    return str(told.value)


# encoders


def test_without_a_name_the_default_of_the_kind_is_chosen():
    found = chosen(a="vector", b="sequence", c="image", d="video", e="tokens", f="audio")
    assert found == {
        "a": "mlp",
        "b": "sequence",
        "c": "convnet",
        "d": "convnet",
        "e": "sequence",
        "f": "wave",
    }


def test_the_default_is_one_that_can_be_read_so():
    assert chosen(reads="tokens", a="image", b="tokens") == {"a": "convnet", "b": "sequence"}
    assert chosen(reads="maps", a="image") == {"a": "maps"}
    assert chosen(reads="stages", a="image", b="video") == {"a": "convnet", "b": "convnet"}


def test_a_modalitys_name_counts_before_its_kind_and_that_before_the_default():
    named = {"left": {"name": "resnet18", "width": 4}, "image": {"name": "mlp", "hidden": 5}}
    found = chosen_encoders(inputs(left="image", right="image", text="tokens"), named, "pooled", "mine")
    assert found == {"left": named["left"], "right": named["image"], "text": {"name": "sequence"}}


def test_a_modality_may_be_called_like_a_kind():
    named = {"image": {"name": "mlp"}}
    assert chosen(named, image="vector", scan="vector") == {"image": "mlp", "scan": "mlp"}
    named = {"image": {"name": "resnet18"}}
    assert chosen(named, image="image", scan="image") == {"image": "resnet18", "scan": "resnet18"}


def test_kinds_that_no_modality_has_may_be_named():
    assert chosen({"video": {"name": "resnet18"}}, a="vector") == {"a": "mlp"}


def test_a_name_that_is_neither_a_modality_nor_a_kind_is_refused():
    assert refusal({"lefft": {"name": "mlp"}}, left="vector") == (
        "unknown modality 'lefft' in encoders (dataset 'mine'); did you mean 'left'? admissible: audio, image, left,"
        " sequence, tokens, vector, video"
    )
    assert "unknown encoder 'mpl'; did you mean 'mlp'?" in refusal({"a": {"name": "mpl"}}, a="vector")


@pytest.mark.parametrize("kind", AXES)
@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_is_refused_the_kinds_that_it_does_not_take(name, kind):
    facts = ENCODERS[name]
    (reads, *_) = facts["reads"]
    if kind in facts["takes"]:
        assert chosen({"m": {"name": name}}, reads, m=kind) == {"m": name}
        return
    fitting = [n for n, f in ENCODERS.items() if kind in f["takes"] and reads in f["reads"]]
    assert refusal({"m": {"name": name}}, reads, m=kind) == (
        f"encoder '{name}' takes {' or '.join(facts['takes'])}, but modality 'm' of dataset 'mine' is a sample of kind"
        f" {kind} {AXES[kind]}; encoders that fit: {', '.join(fitting) or 'none'}"
    )


def test_the_refusal_of_a_kind_reads_as_one_sentence():
    assert refusal({"m": {"name": "convnet"}}, m="sequence") == (
        "encoder 'convnet' takes image or video, but modality 'm' of dataset 'mine' is a sample of kind sequence"
        " (T, D); encoders that fit: features, hf, mlp, sequence, temporal"
    )


@pytest.mark.parametrize("reads", ["pooled", "tokens", "maps", "stages"])
@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_is_refused_the_ways_of_reading_that_it_does_not_have(name, reads):
    facts = ENCODERS[name]
    kind = facts["takes"][0]
    if reads in facts["reads"]:
        assert chosen({"m": {"name": name}}, reads, m=kind) == {"m": name}
        return
    fitting = [n for n, f in ENCODERS.items() if kind in f["takes"] and reads in f["reads"]]
    assert refusal({"m": {"name": name}}, reads, m=kind) == (
        f"encoder '{name}' of modality 'm' can be read as {' or '.join(facts['reads'])}, but the fusion reads {reads};"
        f" encoders that fit: {', '.join(fitting) or 'none'}"
    )


@pytest.mark.parametrize(
    ("kind", "reads", "fitting"),
    [
        ("vector", "tokens", "features"),
        ("vector", "maps", "none"),
        ("video", "maps", "resnet18, resnet34, resnet50"),
    ],
)
def test_where_a_kind_has_no_default_those_that_fit_are_told(kind, reads, fitting):
    assert refusal(reads=reads, m=kind) == (
        f"modality 'm' of dataset 'mine' is a sample of kind {kind}, for which no encoder is the default where a fusion"
        f" reads {reads}; name one that fits: {fitting}"
    )


def test_whoever_reads_images_frame_by_frame_gives_tokens_and_stages():
    for found in entries("encoder").values():
        if issubclass(found.load(), ImageEncoder):
            assert {"tokens", "stages"} <= set(found.facts["reads"])


# augmentations


def test_augmentations_are_chosen_by_name_then_kind_and_are_none_by_default():
    flip, crop = {"name": "flip"}, {"name": "crop", "padding": 2}
    found = chosen_augmentations(
        inputs(a="image", b="image", c="vector"), {"a": [flip, crop], "image": [crop]}, "mine"
    )
    assert found == {"a": [flip, crop], "b": [crop]}
    assert chosen_augmentations(inputs(a="image", b="image"), {"a": [], "image": [crop]}, "mine") == {
        "b": [crop]
    }
    assert chosen_augmentations(inputs(a="image"), {}, "mine") == {}


def test_augmentations_of_other_kinds_are_refused():
    with pytest.raises(UserError) as told:
        chosen_augmentations(inputs(a="sequence"), {"a": [{"name": "time_mask"}, {"name": "crop"}]}, "mine")
    assert str(told.value) == (
        "augmentation 'crop' takes image or video, but modality 'a' of dataset 'mine' is of kind sequence;"
        " augmentations that fit: time_mask"
    )
    with pytest.raises(UserError, match=r"unknown modality 'b' in augment \(dataset 'mine'\)"):
        chosen_augmentations(inputs(a="sequence"), {"b": []}, "mine")


# fusions and methods


@pytest.mark.parametrize("task", list(entries("task")))
@pytest.mark.parametrize("name", list(entries("fusion")))
def test_fusions_are_refused_for_tasks_whose_logits_they_do_not_give(name, task):
    fusion = entry("fusion", name)
    if task in fusion.facts["tasks"]:
        check_fusion(fusion, task, "mine")
        return
    fitting = [n for n, e in entries("fusion").items() if task in e.facts["tasks"]]
    with pytest.raises(UserError) as told:
        check_fusion(fusion, task, "mine")
    assert str(told.value) == (
        f"fusion '{name}' is for {' or '.join(fusion.facts['tasks'])}, but dataset 'mine' poses {task};"
        f" fusions that fit: {', '.join(fitting)}"
    )


@pytest.mark.parametrize("name", [n for n, e in entries("method").items() if e.facts["reads"] == ("pooled",)])
def test_methods_that_work_on_pooled_features_refuse_fusions_of_maps(name):
    method = entry("method", name)
    check_method(method, entry("fusion", "concat"))
    with pytest.raises(UserError) as told:
        check_method(method, entry("fusion", "decoder"))
    assert str(told.value) == (
        f"method '{name}' needs a fusion that reads {' or '.join(method.facts['reads'])}, but 'decoder' reads maps;"
        " fusions that fit: concat, film, gated, lstm, mean, sum, weighted"
    )


def test_methods_read_in_every_way_unless_they_say_so():
    joint = entry("method", "joint")
    assert joint.facts["reads"] == ("pooled", "tokens", "maps", "stages")
    for fusion in entries("fusion").values():
        check_method(joint, fusion)


# what is built is what was chosen


@pytest.mark.parametrize(
    ("encoders", "fusion", "method", "sentence"),
    [
        ({"m0": {"name": "wave"}}, "concat", "joint", "encoder 'wave' takes audio, but modality 'm0'"),
        (
            {},
            "decoder",
            "joint",
            "fusion 'decoder' is for segmentation, but dataset 'synthetic' poses classification",
        ),
        (
            {"image": {"name": "maps"}},
            "concat",
            "joint",
            "encoder 'maps' of modality 'm0' can be read as maps",
        ),
        ({"m2": {"name": "mlp"}}, "concat", "joint", "unknown modality 'm2' in encoders"),
        ({}, None, "uniform", None),
        ({"image": {"name": "mlp"}}, "concat", "joint", None),
    ],
)
def test_building_refuses_what_does_not_fit(encoders, fusion, method, sentence):
    parts = (encoders, {"name": fusion} if fusion else None, {"name": method})
    spec = synthetic(kind="image", dim=8).spec
    if sentence is None:
        net = build_method(spec, *parts, 0).net
        assert [type(e).__name__ for e in net.encoders.values()] == ["Mlp" if encoders else "Convnet"] * 2
        return
    with pytest.raises(UserError, match=sentence):
        build_method(spec, *parts, 0)


def test_of_a_kind_of_input_read_in_one_way_one_encoder_is_the_default():
    """So one that is added changes what no study names."""
    found = [
        (kind, reads)
        for encoder in entries("encoder").values()
        for kind in encoder.facts["default_for"]
        for reads in encoder.facts["reads"]
    ]
    assert {kind for kind, _ in found} == set(AXES)
    assert len(found) == len(set(found))
