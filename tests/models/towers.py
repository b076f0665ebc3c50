"""Tiny models of texts and images, kept in folders as transformers keeps them: the same code path as a real one's."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

WIDTH = 8  # of the space that texts and images share
WORDS = ("a", "photo", "of", "cat", "dog", "bird", "fish", "the")
NAMES = ["cat", "dog", "bird", "fish"]
TOWER = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}


class Towers(os.PathLike):
    """The folder of a random model, `clip` or `blip`, made when it is first asked for."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __str__(self) -> str:
        return self.kind

    def __fspath__(self) -> str:
        return str(saved(self.kind))


@cache
def saved(kind: str) -> Path:
    """Return a folder with a random model of a kind and a tokenizer of a few words."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    folder = Path(tempfile.mkdtemp(prefix="towers-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    special = ("[PAD]", "[BEGIN]", "[END]", "[NONE]")
    numbers = {word: number for number, word in enumerate((*special, *WORDS))}
    made = Tokenizer(models.WordLevel(numbers, unk_token="[NONE]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[BEGIN]", 1), ("[END]", 2)]
    made.post_processor = processors.TemplateProcessing(single="[BEGIN] $A [END]", special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", bos_token="[BEGIN]", eos_token="[END]"
    ).save_pretrained(folder)
    numbered = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
    text = {**TOWER, **numbered, "vocab_size": len(numbers), "max_position_embeddings": 20}
    vision = {**TOWER, "image_size": 8, "patch_size": 4}
    config = AutoConfig.for_model(kind, text_config=text, vision_config=vision, projection_dim=WIDTH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = AutoModel.from_config(config)
    config.save_pretrained(folder)  # and not the net's own, which rank 0 alone carries out
    save_file(net.state_dict(), folder / "model.safetensors", {"format": "pt"})
    pixels = {"image_mean": [0.5] * 3, "image_std": [0.3] * 3, "rescale_factor": 1 / 255}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return folder
