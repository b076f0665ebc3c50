"""Tiny models of the transformers library, kept in folders as it keeps them: the same code path as a real one's."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch

TEXT = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
VISION = {**TEXT, "image_size": 8, "patch_size": 4}
TOWERS = {
    "text_config": {**TEXT, "vocab_size": 11, "max_position_embeddings": 8, "eos_token_id": 10, **STILL},
    "vision_config": {**VISION, "num_channels": 3, "attention_dropout": 0.0},
    "projection_dim": 5,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {"vocab_size": 11, "max_position_embeddings": 8, **TEXT, **STILL},
    "roberta": {"vocab_size": 11, "max_position_embeddings": 10, "pad_token_id": 1, **TEXT, **STILL},
    "vit": {**VISION, "num_channels": 1, **STILL},
    "resnet": {
        "num_channels": 3,
        "embedding_size": 6,
        "hidden_sizes": [6, 10],
        "depths": [1, 2],
        "layer_type": "basic",
    },
    "mobilenet_v2": {"num_channels": 3, "depth_multiplier": 0.1, "finegrained_output": False},
    "clip": TOWERS,
    "blip": TOWERS,
    "wav2vec2": {
        **TEXT,
        **{"conv_dim": (6, 6), "conv_kernel": (4, 3), "conv_stride": (2, 2), "num_conv_pos_embeddings": 4},
        **{
            "num_conv_pos_embedding_groups": 2,
            "layerdrop": 0.0,
            "activation_dropout": 0.0,
            "hidden_dropout": 0.0,
        },
        **{"attention_dropout": 0.0, "feat_proj_dropout": 0.0, "num_feat_extract_layers": 2},
    },
    "audio-spectrogram-transformer": {**TEXT, **STILL, "num_mel_bins": 8, "max_length": 16}
    | {"patch_size": 4, "time_stride": 4, "frequency_stride": 4},
    "whisper": {
        **{
            "d_model": 8,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 12,
            "num_mel_bins": 3,
        },
        **{
            "decoder_layers": 1,
            "decoder_attention_heads": 2,
            "decoder_ffn_dim": 12,
            "max_source_positions": 4,
        },
        **{
            "vocab_size": 11,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        },
        **{"max_target_positions": 8, "dropout": 0.0},
    },
}
PIXELS = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "rescale_factor": 1 / 255}


@cache
def home() -> Path:
    """Return a folder that is there until the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def config_of(kind: str) -> Path:
    """Return a folder with nothing but the config of a kind of model."""
    from transformers import AutoConfig

    folder = home() / "config" / kind
    AutoConfig.for_model(kind, **CONFIGS[kind]).save_pretrained(folder)
    return folder


@cache
def saved(kind: str) -> Path:
    """Return a folder with a random model of a kind."""
    folder = home() / "saved" / kind
    net = net_of(kind)
    net.save_pretrained(folder)
    channels = CONFIGS[kind].get("num_channels", 3)
    told = PIXELS | {name: PIXELS[name][:channels] for name in ("image_mean", "image_std")}
    if kind in ("vit", "resnet", "mobilenet_v2", "clip", "blip"):
        (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return folder


def net_of(kind: str) -> torch.nn.Module:
    """Return that model, in evaluation mode; its batch norms have seen something."""
    from transformers import AutoConfig, AutoModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        net = AutoModel.from_config(AutoConfig.for_model(kind, **CONFIGS[kind])).eval()
        for name, value in net.named_buffers():
            if name.endswith("running_mean"):
                value.normal_()
        for p in net.parameters():  # norms of 1 and biases of 0 hide what is forgotten
            p.data += 0.1 * torch.randn_like(p)
    return net
