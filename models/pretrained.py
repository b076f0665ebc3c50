"""Pre-trained models: folders by path, below SWEEPER_MODELS or of the Hugging Face hub, and what they hold."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.models.errors import UserError, one_line

if TYPE_CHECKING:
    from torch import nn

FILES = ("*.json", "*.txt", "*.model", "*.safetensors")  # weights that hold no code, vocabularies, settings
OF_HUB = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")  # what a name on the hub looks like
UNCOUNTED = "num_batches_tracked"  # what old checkpoints lack and nothing depends on


def local(model: str) -> Path | None:
    """Return the folder of a model that is a path or lies below SWEEPER_MODELS, None if there is none."""
    return next((p.expanduser().resolve() for p in _places(model) if _exists(p)), None)


def located(model: str, revision: str = "main") -> Path:
    """Return the folder of a model, downloaded once if only the hub has it; `revision` counts there alone.

    HF_HUB_OFFLINE=1 leaves the network alone. Raises UserError if it is nowhere.
    """
    found = local(model)
    if found:
        return found
    looked = " and ".join(str(place)[:200] for place in _places(model))
    if not OF_HUB.fullmatch(model):
        raise UserError(f"model {model[:200]!r} is no folder ({looked}); give one, or a name on the hub")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(FILES)))
    except Exception as error:  # of the network, of a name that is none, of a hub that refuses
        raise UserError(
            f"model {model!r} is no folder ({looked}) and not to be had from the hub ({one_line(error)[:200]});"
            " give a folder, set SWEEPER_MODELS, or download it first"
        ) from error


def loaded(
    kind: type,
    folder: Path,
    of: Callable[[nn.Module], list[nn.Module]] = lambda net: [net],
    **options: object,
) -> nn.Module:
    """Return a folder's model as transformers reads it, as float32; `kind` is one of its classes.

    Only safetensors are read, and no code. Raises ValueError for weights that the modules `of` the net which are used
    lack, since they would be left at random; what else is raised is transformers' own.
    """
    import torch

    with _quiet():
        net, told = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            dtype=torch.float32,  # and not the checkpoint's own
            **options,
        )
    names = {id(tensor): name for name, tensor in net.state_dict(keep_vars=True).items()}
    used = {names[id(t)] for part in of(net) for t in part.state_dict(keep_vars=True).values()}
    missing = sorted(k for k in used & {*told["missing_keys"]} if not k.endswith(UNCOUNTED))
    if missing:
        raise ValueError(f"it lacks {missing[0]}")
    return net


def preprocessing(folder: Path) -> dict[str, Any]:
    """Return how a checkpoint prepares its inputs, {} if it does not say."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if path.is_file():
            try:
                told = json.loads(path.read_text())
                return told.get("image_processor") or told.get("feature_extractor") or dict(told)
            except (OSError, ValueError, AttributeError) as error:
                raise UserError(f"{path} cannot be read ({one_line(error)}); download it again") from error
    return {}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing bars and tables of what a model lacks, which is told elsewhere."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.ERROR + 1)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _places(model: str) -> list[Path]:
    root = os.environ.get("SWEEPER_MODELS")
    return [Path(model), *([Path(root) / model] if root else [])]


def _exists(place: Path) -> bool:
    try:
        return place.expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long, of a user that there is not, with a NUL
        return False
