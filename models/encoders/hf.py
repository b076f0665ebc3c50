"""Pre-trained encoders of texts, images and sounds, of the Hugging Face hub or a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sweeper.models.encoders.base import Encoder, frames_of, unfolded
from sweeper.models.encoders.bodies import Body, Pictures, body_for
from sweeper.models.encoders.features import Features, there
from sweeper.models.encoders.trainable import freeze, ordered
from sweeper.models.errors import UserError, one_line
from sweeper.models.pretrained import loaded, located, preprocessing
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec, Tokens

# the parts of models that read several kinds of input, and what maps a part's summary into the space that they share
TOWERS = {"tokens": "text_model", "image": "vision_model", "video": "vision_model"}
SHARED = {"text_model": "text_projection", "vision_model": "visual_projection"}
# what masks inputs in training by numbers from nowhere; a study's own augmentation does it by name
UNMASKED = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}


class Hf(Encoder):
    """A model of the transformers library, by its folder, a folder below SWEEPER_MODELS, or its name on the hub.

    Tokens: BERT, RoBERTa, CLIP, …. Images, and videos frame by frame: ViT, ResNet, MobileNet, CLIP, BLIP, …, given
    pixels from 0 to 255. Waveforms: Wav2Vec2, …. Log-mel spectrograms: Whisper's encoder, AST. A model of several
    parts gives the one for the input.

    `pooling` is what becomes of its states: `cls` the first, `mean` their mean, `pooler` what the model's own pooler or
    projection makes of them, `attention` a mean weighted by a learned score; without it the one the model is made for.
    Frames of a video are pooled each and averaged. `dim` adds a linear layer to that width. `trainable` says what of
    the model trains: with `top` its last blocks and what follows, `lora` matrices of `rank` beside its linear layers;
    with `none` it runs once and its features are kept. `checkpointing` saves memory for time, `dtype` is what the
    model computes in, `from_scratch` takes its architecture alone.
    Raises UserError for a model that cannot be found or loaded, Misfit for one that does not take the input.
    """

    takes = ("tokens", "image", "video", "audio", "sequence")
    reads = ("pooled", "tokens", "stages")
    normalizes = True

    def __init__(
        self,
        spec: InputSpec,
        *,
        model: Path,
        revision: str = "main",
        pooling: Literal["cls", "mean", "pooler", "attention"] | None = None,
        dim: Count | None = None,
        trainable: Literal["all", "none", "top", "norm-and-bias", "lora"] = "all",
        top: Count = 2,
        rank: Count = 8,
        checkpointing: bool = False,
        dtype: Literal["float32", "bfloat16"] = "float32",
        from_scratch: bool = False,
    ) -> None:
        folder = located(str(model), revision)
        try:
            body = _body(folder, spec, pooling, from_scratch)
            freeze(body.net, trainable, top, rank)
            if body.project is not None:
                body.project.requires_grad_(trainable in ("all", "top"))
            if checkpointing:
                body.net.activation_checkpointing_enable({"use_reentrant": False})
            pooling = pooling or body.pooling
            width = _width(body, spec, pooling)
        except UserError as error:
            raise type(error)(f"model {str(model)!r}: {error}") from None
        super().__init__(dim or width)
        self.pooling = pooling
        self.body = body.to(getattr(torch, dtype))
        read = InputSpec("sequence", (1, width))
        self.rest = Features(read, pooling="attention" if pooling == "attention" else "mean", dim=dim)

    @classmethod
    def remaining(cls, options: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return how features are pooled and mapped, where the rest is the same in every run."""
        if options.get("trainable") != "none" or options.get("from_scratch"):
            return None
        pooling = "attention" if options.get("pooling") == "attention" else "mean"
        return {"name": "features", "pooling": pooling, "dim": options.get("dim")}

    def layers(self) -> list[nn.Module]:
        """Return those of the model, the map into the space that its parts share, and what is learned on top."""
        own = [self.body.project] if self.body.project is not None else []
        return [*ordered(self.body.net), *own, *self.rest.layers()]

    def pooled(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return features (B, dim)."""
        found = self.given(x, mask, "pooled")
        return self.rest.pooled(found.values, found.mask) if isinstance(found, Tokens) else self.rest(found)

    def tokens(self, x: Tensor, mask: Tensor | None = None) -> Tokens:
        """Return the features of each state, of each frame of a video; those of an image are one frame's."""
        found = self.given(x, mask, "tokens")
        return self.rest.tokens(found.values, found.mask)

    def given(self, x: Tensor, mask: Tensor | None = None, read: str = "pooled") -> Tensor | Tokens:
        """Return the model's features (B, D), or steps of them where a fusion reads tokens or they are weighed."""
        if x.dim() == 5:
            frames, kept = frames_of(x, mask)
            steps = Tokens(unfolded(self._summary(frames, None), kept), kept)
            return steps if read == "tokens" or self.pooling == "attention" else steps.pooled
        if read == "tokens" and x.dim() == 4 and isinstance(self.body, Pictures):
            summary = self._summary(x, None).unsqueeze(1)
            return Tokens(summary, there(summary, None))
        if read == "tokens" or self.pooling == "attention":
            states, _ = self._run(x, mask)
            share = self.body.project if self.pooling == "pooler" else None
            return states if share is None else Tokens(share(states.values), states.mask)
        return self._summary(x, mask)

    def _summary(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return one feature (B, D) of each row."""
        pooling = self.body.pooling if self.pooling == "attention" else self.pooling
        return pooled_by(pooling, *self._run(x, mask))

    def _run(self, x: Tensor, mask: Tensor | None) -> tuple[Tokens, Tensor | None]:
        """Return what the model makes of rows; of none nothing, which most models cannot say."""
        states, summary = self.body(x if len(x) else x.new_zeros(1, *x.shape[1:]), mask if len(x) else None)
        rows = slice(len(x))
        values, summary = (z if z is None else _plain(z[rows]) for z in (states.values, summary))
        return Tokens(values, states.mask[rows]), summary


def pooled_by(pooling: str, states: Tokens, summary: Tensor | None) -> Tensor:
    """Return one feature (B, D) of each row's states, or the model's own summary of them."""
    if pooling == "pooler":
        return summary
    return states.values[:, 0] if pooling == "cls" else states.pooled


def _body(folder: Path, spec: InputSpec, pooling: str | None, from_scratch: bool) -> Body:
    """Return a folder's model for a kind of input, with random weights if it is to be trained from scratch."""
    from transformers import AutoConfig, AutoModel

    kept: list[nn.Module | None] = []

    def used(net: nn.Module) -> list[nn.Module]:
        kept[:] = _parts(net, spec, pooling)
        return [module for module in kept if module is not None]

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        for name, value in UNMASKED.items():
            if hasattr(config, name):
                setattr(config, name, value)
        if from_scratch:
            used(AutoModel.from_config(config, dtype=torch.float32))
        else:
            with torch.random.fork_rng(
                devices=[]
            ):  # what is learned on top begins alike, loaded or kept features
                loaded(AutoModel, folder, used, config=config)
    except UserError:
        raise
    except Exception as error:  # whatever reading a foreign or damaged folder raises
        raise UserError(
            f"it cannot be loaded from {folder} ({one_line(error)[:200]}); give a folder with config.json and"
            " model.safetensors"
        ) from error
    net, project = kept
    kind = body_for(spec, net)
    prepared = preprocessing(folder)
    if kind is Pictures and not prepared and not from_scratch:
        raise UserError(f"{folder} has no preprocessor_config.json, which says how pixels are scaled; add it")
    return kind(net, project, spec, prepared).train()


def _parts(net: nn.Module, spec: InputSpec, pooling: str | None) -> tuple[nn.Module, nn.Module | None]:
    """Return the part of a model that reads a kind of input, and what maps its summary on; without an unread pooler."""
    tower, project = TOWERS.get(spec.kind, ""), None
    if hasattr(net, tower):
        project = getattr(net, SHARED[tower], None) if pooling in (None, "pooler") else None
        net = getattr(net, tower)
    elif net.config.is_encoder_decoder:
        net = net.get_encoder()
    pooler = getattr(net, "pooler", None)
    if (
        pooler is not None
        and any(True for _ in pooler.parameters())
        and pooling != "pooler"
        and project is None
    ):
        net.pooler = None
    return net, project


def _width(body: Body, spec: InputSpec, pooling: str) -> int:
    """Return the width of a body's features; raise UserError if it cannot be pooled so."""
    if pooling == "cls" and not body.begins:
        raise UserError(
            "its first state stands for no whole, so it has no cls; admissible: mean, pooler, attention"
        )
    shape = {"video": spec.shape[1:], "image": spec.shape}.get(spec.kind, (1, *spec.shape[1:]))
    kind = torch.int64 if spec.kind == "tokens" else torch.float32
    body.eval()
    with torch.no_grad():
        states, summary = body(torch.zeros(1, *shape, dtype=kind), None)
    body.train()
    if pooling == "pooler" and summary is None:
        raise UserError(f"it has no pooler; admissible: {'cls, ' * body.begins}mean, attention")
    pooling = body.pooling if spec.kind == "video" and pooling == "attention" else pooling
    return pooled_by(pooling, states, summary).shape[1]


def _plain(z: Tensor) -> Tensor:
    return z.float() if z.dtype == torch.bfloat16 else z
