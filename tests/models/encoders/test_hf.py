"""Models of the transformers library: their features are the saved net's, what trains, and what cannot be used."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sweeper.models import pretrained
from sweeper.models.encoders.hf import Hf
from sweeper.models.errors import Misfit, UserError
from sweeper.models.pretrained import located
from sweeper.models.schema.entries import entries
from sweeper.models.values import InputSpec
from tests.models.encoders.tiny import CONFIGS, PIXELS, net_of, saved

TEXT, RGB, GREY = (
    InputSpec("tokens", (6,), "int64", 11),
    InputSpec("image", (3, 8, 8)),
    InputSpec("image", (1, 8, 8)),
)
SOUND, MELS, FBANK = InputSpec("audio", (70,)), InputSpec("sequence", (8, 3)), InputSpec("sequence", (16, 8))
SPECS = {
    **dict.fromkeys(("bert", "roberta"), TEXT),
    **{"vit": GREY, "resnet": RGB, "mobilenet_v2": InputSpec("image", (3, 32, 32)), "wav2vec2": SOUND},
    **{"whisper": MELS, "audio-spectrogram-transformer": FBANK},
}


def sample(spec, rows=3):
    generator = torch.Generator().manual_seed(2)
    if spec.kind == "tokens":
        return torch.randint(2, spec.vocabulary, (rows, *spec.shape), generator=generator)
    x = torch.rand(rows, *spec.shape, generator=generator)
    return 255 * x if spec.kind in ("image", "video") else x


def made(kind, spec=None, **options):
    return Hf(spec or SPECS[kind], model=saved(kind), **options).eval()


def scaled(x):
    channels = x.shape[-3]
    mean, std = (torch.tensor(PIXELS[name][:channels]).view(-1, 1, 1) for name in ("image_mean", "image_std"))
    return (x / 255 - mean) / std


# features


@pytest.mark.parametrize(
    ("kind", "pooling", "expected"),
    [
        ("bert", None, lambda net, x: net(x).last_hidden_state.mean(1)),
        ("bert", "cls", lambda net, x: net(x).last_hidden_state[:, 0]),
        ("bert", "pooler", lambda net, x: net(x).pooler_output),
        ("roberta", None, lambda net, x: net(x).last_hidden_state.mean(1)),
        ("vit", None, lambda net, x: net(scaled(x)).last_hidden_state[:, 0]),
        ("vit", "pooler", lambda net, x: net(scaled(x)).pooler_output),
        ("resnet", None, lambda net, x: net(scaled(x)).pooler_output.flatten(1)),
        ("resnet", "mean", lambda net, x: net(scaled(x)).last_hidden_state.mean((2, 3))),
        ("mobilenet_v2", None, lambda net, x: net(scaled(x)).pooler_output),
        ("wav2vec2", None, lambda net, x: net(x).last_hidden_state.mean(1)),
        ("whisper", None, lambda net, x: net.encoder(x.transpose(1, 2)).last_hidden_state.mean(1)),
        ("audio-spectrogram-transformer", None, lambda net, x: net(x).pooler_output),
    ],
)
def test_features_are_those_of_the_saved_net(kind, pooling, expected):
    encoder, x = made(kind, pooling=pooling), sample(SPECS[kind])
    with torch.no_grad():
        wanted = expected(net_of(kind), x)
        torch.testing.assert_close(encoder(x), wanted)
    assert encoder.dim == wanted.shape[1]


@pytest.mark.parametrize("kind", ["clip", "blip"])
def test_a_model_of_two_parts_gives_the_part_for_the_input_in_the_space_that_they_share(kind):
    net, ids, pixels = net_of(kind), sample(TEXT), sample(RGB)
    with torch.no_grad():
        text = net.get_text_features(ids, torch.ones_like(ids)).pooler_output
        torch.testing.assert_close(made(kind, TEXT)(ids), text)
        torch.testing.assert_close(
            made(kind, RGB)(pixels), net.get_image_features(scaled(pixels)).pooler_output
        )
        states = net.vision_model(scaled(pixels)).last_hidden_state
        torch.testing.assert_close(made(kind, RGB, pooling="cls")(pixels), states[:, 0])
    assert text.shape[1] == CONFIGS[kind]["projection_dim"]
    assert made(kind, RGB, pooling="cls").dim == CONFIGS[kind]["vision_config"]["hidden_size"]


def test_weighed_by_attention_features_are_a_mean_of_the_states_that_are_there():
    encoder, x = made("bert", pooling="attention"), sample(TEXT)
    mask = torch.arange(6) < torch.tensor([[6], [1], [4]])
    with torch.no_grad():
        states, weight = encoder(x, mask, "tokens"), encoder.rest.score.weight
        share = (states.values @ weight[0]).masked_fill(~mask, -torch.inf).softmax(1)
        torch.testing.assert_close(encoder(x, mask), (share.unsqueeze(-1) * states.values).sum(1))
        weight.zero_()
        torch.testing.assert_close(encoder(x, mask), states.pooled)


def test_images_are_brought_to_the_size_that_a_net_of_patches_needs():
    x = sample(InputSpec("image", (1, 21, 13)))
    with torch.no_grad():
        small = nn.functional.interpolate(x, (8, 8), mode="bilinear", antialias=True)
        torch.testing.assert_close(made("vit", InputSpec("image", (1, 21, 13)))(x), made("vit")(small))


def test_a_video_is_the_mean_of_its_frames_that_are_there():
    spec = InputSpec("video", (4, 1, 8, 8))
    encoder, x = made("vit", spec), sample(spec)
    mask = torch.arange(4) < torch.tensor([[4], [2], [1]])
    with torch.no_grad():
        frames = torch.stack([made("vit")(x[:, t]) for t in range(4)], 1)
        torch.testing.assert_close(encoder(x, mask, "tokens").values, frames * mask.unsqueeze(-1))
        torch.testing.assert_close(encoder(x, mask)[1], frames[1, :2].mean(0))


def test_a_spectrogram_may_be_an_image_of_one_channel():
    x = sample(MELS)
    image = InputSpec("image", (1, 3, 8))
    with torch.no_grad():
        torch.testing.assert_close(made("whisper", image)(x.transpose(1, 2).unsqueeze(1)), made("whisper")(x))


def test_numbers_are_given_to_it_as_they_are_on_disk():
    assert entries("encoder")["hf"].facts["normalizes"]
    assert not entries("encoder")["convnet"].facts["normalizes"]


def test_half_precision_is_computed_in_and_single_given():
    encoder, x = made("bert", dtype="bfloat16"), sample(TEXT)
    z = encoder(x)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z, made("bert")(x), rtol=0, atol=0.05)
    assert {p.dtype for p in encoder.body.parameters()} == {torch.bfloat16}


def test_a_checkpoint_in_half_precision_trains_in_single(tmp_path):
    net_of("bert").half().save_pretrained(tmp_path)
    assert {p.dtype for p in Hf(TEXT, model=tmp_path).parameters()} == {torch.float32}


def test_checkpointing_changes_no_gradient():
    x, found = sample(TEXT), []
    for checkpointing in (False, True):
        encoder = made("bert", checkpointing=checkpointing).train()
        encoder(x).square().sum().backward()
        found.append([p.grad for p in encoder.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


# what trains


def trained(encoder):
    return {name.removeprefix("body.net.") for name, p in encoder.named_parameters() if p.requires_grad}


def test_all_trains_unless_a_study_says_otherwise():
    assert trained(made("bert")) == {n for n, _ in net_of("bert").named_parameters() if "pooler" not in n}


def test_nothing_trains_but_what_is_learned_on_top():
    assert trained(made("bert", trainable="none", dim=3)) == {"rest.project.weight"}
    assert trained(made("bert", trainable="none", pooling="attention")) == {"rest.score.weight"}
    assert trained(made("clip", RGB, trainable="none")) == set()


def test_the_top_is_the_last_blocks_and_what_follows_them():
    assert {name.rsplit(".", 4)[0] for name in trained(made("bert", trainable="top", top=1))} >= {
        "encoder.layer.1"
    }
    assert not [
        n for n in trained(made("bert", trainable="top", top=1)) if n.startswith(("embed", "encoder.layer.0"))
    ]
    assert {n.split(".")[0] for n in trained(made("vit", trainable="top", top=1))} >= {"layernorm"}
    with pytest.raises(UserError, match=r"top is 3, but it has 2 blocks; admissible: 1 to 2$"):
        made("bert", trainable="top", top=3)


def test_norms_and_biases_train_alone():
    names = trained(made("bert", trainable="norm-and-bias"))
    assert {n for n in names if not n.endswith("bias")} == {
        n for n in names if n.endswith("LayerNorm.weight")
    }
    assert {n for n in trained(made("bert")) if n.endswith("bias")} < names
    assert "encoder.stages.1.layers.0.layer.0.normalization.weight" in trained(
        made("resnet", trainable="norm-and-bias")
    )


def test_lora_begins_at_the_saved_net_and_trains_matrices_of_a_rank():
    encoder, x = made("bert", trainable="lora", rank=3), sample(TEXT)
    torch.testing.assert_close(encoder(x), made("bert")(x))
    assert all(".lora_" in name for name in trained(encoder))
    shapes = {p.shape[0] for name, p in encoder.named_parameters() if ".lora_A." in name}
    assert shapes == {3}
    assert len(trained(encoder)) == 2 * 6 * 2  # of six linear layers in each of two blocks
    with pytest.raises(UserError, match=r"lora needs linear layers, and its blocks have none"):
        made("resnet", trainable="lora")


@pytest.mark.parametrize(
    ("kind", "first", "count"),
    [
        ("bert", "BertEmbeddings", 3),
        ("vit", "ViTEmbeddings", 4),
        ("resnet", "ResNetEmbeddings", 3),
        ("whisper", "Conv1d", 6),
        ("wav2vec2", "Wav2Vec2FeatureEncoder", 6),
    ],
)
def test_layers_stand_from_the_input_up_and_blocks_by_themselves(kind, first, count):
    layers = made(kind, dim=2).layers()
    assert (type(layers[0]).__name__, len(layers)) == (first, count + 1)
    assert layers[-1].weight.shape[0] == 2


# what is left of one that never trains


def test_what_is_left_of_a_frozen_encoder_gives_its_features():
    x = sample(TEXT)
    for more in ({"dim": 3}, {"pooling": "attention"}, {"pooling": "cls"}):
        options = {"trainable": "none", **more}
        torch.manual_seed(4)
        encoder = made("bert", **options)
        left = Hf.remaining(options)
        given = encoder.given(x)
        values = given if isinstance(given, torch.Tensor) else given.values
        spec = InputSpec("sequence" if values.dim() == 3 else "vector", values.shape[1:])
        torch.manual_seed(4)
        rest = entries("encoder")["features"].build(left, spec)
        assert torch.equal(rest(values), encoder(x))


@pytest.mark.parametrize(
    "options", [{}, {"trainable": "top"}, {"trainable": "none", "from_scratch": True}], ids=str
)
def test_nothing_is_fixed_where_something_trains_or_a_seed_decides(options):
    assert Hf.remaining(options) is None


# what cannot be used


def test_a_model_that_is_nowhere_is_told_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEPER_MODELS", str(tmp_path))
    with pytest.raises(
        UserError, match=r"model '\./no' is no folder \(no and .*/no\); give one, or a name on the hub$"
    ):
        located("./no")


def test_the_hub_is_asked_for_what_is_no_folder_and_no_code(monkeypatch, tmp_path):
    asked = []

    def download(model, **options):
        asked.append((model, options["revision"], "*.bin" in options["allow_patterns"]))
        if model == "gone/model":
            raise OSError("Cannot find it.\nOffline mode is enabled.")
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert located("some/model", "v2") == tmp_path
    assert asked == [("some/model", "v2", False)]
    with pytest.raises(
        UserError, match=r"'gone/model' is no folder .* hub \(Cannot find it. Offline mode is"
    ) as told:
        located("gone/model")
    assert "\n" not in str(told.value)


def copied(tmp_path, kind="bert"):
    return Path(shutil.copytree(saved(kind), tmp_path / kind))


def without(folder, *beginnings):
    """Take weights away whose names begin so."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    kept = {k: v for k, v in load_file(file).items() if not k.startswith(beginnings)}
    save_file(kept, file, metadata={"format": "pt"})


def test_missing_weights_are_refused_where_they_are_used_and_admitted_where_not(tmp_path):
    folder = copied(tmp_path)
    without(folder, "pooler")
    assert Hf(TEXT, model=folder).dim == 8
    with pytest.raises(UserError, match=r"it cannot be loaded from .* \(it lacks pooler\.dense\.bias\)"):
        Hf(TEXT, model=folder, pooling="pooler")
    without(folder, "encoder.layer.1.output")
    with pytest.raises(UserError, match=r"it lacks encoder\.layer\.1\.output"):
        Hf(TEXT, model=folder)


def test_a_missing_decoder_is_admitted(tmp_path, capsys):
    folder = copied(tmp_path, "whisper")
    without(folder, "decoder")
    x = sample(MELS)
    torch.testing.assert_close(Hf(MELS, model=folder).eval()(x), made("whisper")(x))
    assert capsys.readouterr() == ("", "")


def test_weights_that_may_hold_code_are_not_read(tmp_path):
    folder = copied(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save(net_of("bert").state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"cannot be loaded from .*; give a folder with config.json and model.safet"
    ):
        Hf(TEXT, model=folder)


def test_code_beside_a_model_is_not_run(tmp_path):
    folder = copied(tmp_path)
    (folder / "own.py").write_text("raise SystemExit('it was run')")
    told = json.loads((folder / "config.json").read_text())
    told |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(told))
    with pytest.raises(UserError, match=r"cannot be loaded"):
        Hf(TEXT, model=folder)


@pytest.mark.parametrize(
    ("kind", "spec", "options", "sentence"),
    [
        (
            "bert",
            InputSpec("tokens", (6,), "int64", 12),
            {},
            "it knows 11 tokens, the dataset has 12; read texts with",
        ),
        (
            "bert",
            InputSpec("tokens", (9,), "int64", 11),
            {},
            "it reads 8 tokens, the dataset has texts of 9; cut",
        ),
        (
            "roberta",
            InputSpec("tokens", (9,), "int64", 11),
            {},
            "it reads 8 tokens, the dataset has texts of 9",
        ),
        ("vit", RGB, {}, "it is for images with 1 channels, these have 3; read them with as many"),
        ("bert", RGB, {}, "it takes tokens, and these are samples of kind image"),
        ("resnet", TEXT, {}, "it takes image, video, and these are samples of kind tokens"),
        ("whisper", InputSpec("sequence", (9, 3)), {}, "it reads 8 steps, the dataset has 9; cut it shorter"),
        (
            "whisper",
            InputSpec("sequence", (8, 4)),
            {},
            "it reads 3 mel bands, the dataset has 4; read it with as many",
        ),
        ("whisper", SOUND, {}, "it takes sequence, and these are samples of kind audio"),
        ("resnet", RGB, {"pooling": "cls"}, "it has no cls; admissible: mean, pooler, attention"),
        ("wav2vec2", SOUND, {"pooling": "pooler"}, "it has no pooler; admissible: mean, attention"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(kind, spec, options, sentence):
    with pytest.raises(UserError, match=sentence) as told:
        made(kind, spec, **options)
    assert str(told.value).startswith(f"model {str(saved(kind))!r}: ")
    assert isinstance(told.value, Misfit) == (not options)


def test_pixels_without_a_word_on_their_scale_are_refused(tmp_path):
    folder = copied(tmp_path, "vit")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(
        UserError, match=r"has no preprocessor_config\.json, which says how pixels are scaled; add it"
    ):
        Hf(GREY, model=folder)
    assert Hf(GREY, model=folder, from_scratch=True).dim == 8


# real weights


def real(name):
    folder = pretrained.local(name)
    if folder is None:
        pytest.skip(f"{name} lies in the folder that SWEEPER_MODELS names")
    return folder


def test_sentences_of_one_meaning_lie_together():
    from transformers import AutoTokenizer

    folder = real("minilm")
    read = AutoTokenizer.from_pretrained(folder)(
        ["A man is playing a guitar.", "Someone plays the guitar.", "The stock market fell sharply."],
        padding=True,
    )
    x, mask = (torch.tensor(read[name]) for name in ("input_ids", "attention_mask"))
    encoder = Hf(InputSpec("tokens", x.shape[1:], "int64", 30522), model=folder, trainable="none").eval()
    z = nn.functional.normalize(encoder(x, mask.bool()), dim=1)
    assert z[0] @ z[1] > 0.6 > 0.2 > z[0] @ z[2]


def test_pixels_are_scaled_as_the_checkpoints_own_processor_does():
    from transformers import AutoImageProcessor, AutoModel

    folder = real("mobilenetv2_imagenet")
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 224, 224), np.uint8)
    own = AutoImageProcessor.from_pretrained(folder, backend="pil", do_resize=False)(
        list(x), return_tensors="pt"
    )
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()(**own).pooler_output
        found = Hf(InputSpec("image", (3, 224, 224)), model=folder).eval()(torch.from_numpy(x).float())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_whispers_encoder_reads_less_than_thirty_seconds_as_if_silence_followed():
    encoder = Hf(
        InputSpec("sequence", (400, 80)), model=real("whisper_tiny_en_encoder"), trainable="none"
    ).eval()
    x = torch.rand(1, 400, 80).clamp_min(0.2)
    with torch.no_grad():
        short = encoder(x, torch.arange(400)[None] < 300, "tokens")
        alone = encoder(x[:, :300], None, "tokens")
    assert short.mask.sum() == 150
    torch.testing.assert_close(short.values[:, :150], alone.values)
