"""Folders of pre-trained models: a path, a folder below SWEEPER_MODELS, or a model of the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path

from sweeper.models.errors import UserError, one_line

FILES = ("*.json", "*.txt", "*.model", "*.safetensors")  # weights that hold no code, vocabularies, settings


def located(model: str, revision: str = "main") -> Path:
    """Return the folder of a model, downloaded once if only the hub has it; `revision` counts there alone.

    HF_HUB_OFFLINE=1 leaves the network alone. Raises UserError if it is nowhere.
    """
    root = os.environ.get("SWEEPER_MODELS")
    places = [Path(model).expanduser(), *([Path(root) / model] if root else [])]
    for place in places:
        if place.is_dir():
            return place.resolve()
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(FILES)))
    except Exception as error:  # of the network, of a name that is none, of a hub that refuses
        looked = " and ".join(str(place) for place in places)
        raise UserError(
            f"model {model!r} is no folder ({looked}) and not to be had from the hub ({one_line(error)[:200]});"
            " give a folder, set SWEEPER_MODELS, or download it first"
        ) from error
