"""Zero-shot classification by names of classes, with tiny CLIP and BLIP models, against transformers' own text part."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from sweeper.models.errors import UserError
from sweeper.models.training.evaluation import evaluate
from sweeper.models.training.splits import splits_of
from tests.models.cases import build, fit, synthetic, weights
from tests.models.towers import NAMES, Towers, saved

PROMPT = "a photo of the {}"


def zero_shot(data, kind="clip", **options):
    named = {"name": "clip_zero_shot", "model": Towers(kind), "prompt": PROMPT, **options}
    return build(named, data, fusion=None)


def named(data, names):
    return replace(data, spec=replace(data.spec, classes=tuple(names)))


@pytest.mark.parametrize("kind", ["clip", "blip"])
def test_logits_are_scaled_cosines_with_the_models_own_embeddings_of_the_prompts(kind):
    from transformers import AutoModel, AutoTokenizer

    data = synthetic()
    method, net = zero_shot(named(data, NAMES), kind), AutoModel.from_pretrained(saved(kind)).eval()
    tokenizer = AutoTokenizer.from_pretrained(saved(kind))
    batch = splits_of(data, method, 0).validation.batch(torch.arange(5))
    output = method.eval()(batch)
    for number, name in enumerate(NAMES):  # one by one: there is no padding
        words = tokenizer(PROMPT.format(name), return_tensors="pt")
        with torch.no_grad():
            text = net.get_text_features(words["input_ids"], words["attention_mask"]).pooler_output
        for m, z in output.features.items():
            expected = net.logit_scale.exp() * functional.cosine_similarity(z, text)
            torch.testing.assert_close(output.unimodal[m][:, number], expected)
    torch.testing.assert_close(output.fused, (output.unimodal["m0"] + output.unimodal["m1"]) / 2)


def test_nothing_trains_and_no_seed_counts():
    data = synthetic()
    method = zero_shot(data, classes=NAMES)
    before = weights(method)
    assert fit(method, data).curve == []
    assert all(torch.equal(p, before[name]) for name, p in weights(method).items())
    torch.manual_seed(1)
    again = zero_shot(data, classes=NAMES)
    assert torch.equal(method.head.weight, again.head.weight)


def test_a_modality_that_a_row_lacks_adds_nothing():
    data = synthetic(missing=0.4)
    method = zero_shot(data, classes=NAMES)
    feed = splits_of(data, method, 0).validation
    batch = feed.batch(torch.arange(len(feed)))
    output = method.eval()(batch)
    lacking = ~batch.present["m0"]
    assert lacking.any()
    torch.testing.assert_close(output.fused[lacking], output.unimodal["m1"][lacking] / 2)
    assert evaluate(method, feed).predicted.shape == (64, 4)


def test_classes_said_take_the_place_of_the_datasets_names():
    data = synthetic()
    own = zero_shot(named(data, ["bird", "fish", "cat", "dog"]), classes=NAMES)
    underscored = zero_shot(named(data, ["cat_dog", "dog", "bird", "fish"]))
    assert torch.equal(underscored.head.weight, zero_shot(data, classes=["cat dog", *NAMES[1:]]).head.weight)
    assert torch.equal(own.head.weight, zero_shot(named(data, NAMES)).head.weight)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "0 names of classes for the 4 of dataset 'synthetic'"),
        ({"classes": NAMES[:3]}, "3 names of classes for the 4"),
        (
            {"classes": NAMES, "prompt": "a photo"},
            r"prompt 'a photo'; give as many `classes`, and a prompt with \{\}",
        ),
        ({"classes": NAMES, "model": "no/where/at/all"}, "'no/where/at/all' is no folder"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(options, sentence, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=sentence):
        zero_shot(synthetic(), **options)


def test_features_of_another_width_are_refused():
    data = synthetic()
    named = {"name": "clip_zero_shot", "model": Towers("clip"), "classes": NAMES}
    with pytest.raises(
        UserError, match=r"features of 'm0' are 5 wide, embeddings of '.*' 8; encode all by \{name: hf"
    ):
        build(named, data, fusion=None, encoder={"name": "mlp", "dim": 5})


def test_a_model_without_all_its_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(saved("clip"), tmp_path / "half")
    kept = load_file(folder / "model.safetensors")
    del kept["text_projection.weight"]
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"no model of texts and images \(it lacks text_projection.weight\)"):
        zero_shot(synthetic(), model=str(folder), classes=NAMES)
