"""The contract of encoders: one modality's input (B, ...) in, features out, read in the way that a fusion asks for.

Encoders draw their initial weights from torch's generator and nothing at random afterwards. Second derivatives need
`gradients.twice_differentiable`. Steps that a mask says are not there never change what is read.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.models.errors import UserError
from sweeper.models.values import Tokens

DIM = 64  # the width of features that encoders have by default, so that any two fit together

Staged = Generator[
    Tensor, Tensor, Tensor
]  # yields a stage's map, is sent what it becomes, returns pooled features


class Encoder(nn.Module):
    """Base of all encoders: a subclass defines a method for each way it `reads`.

    `takes` names the kinds of input, `default_for` those for which it is chosen where a study names none. `reads`
    names the ways in which it can be read: pooled (B, dim), tokens (Tokens of width dim), maps (B, dim, h, w), and
    stages: pooled, after maps were exchanged with the other encoders. `stages` {name: channels} are these maps; an
    encoder without maps exchanges its features, as its only stage. One that `normalizes` is given numbers as they are
    in the dataset, not standardised.
    """

    takes: tuple[str, ...] = ()
    default_for: tuple[str, ...] = ()
    reads: tuple[str, ...] = ("pooled", "stages")
    normalizes: bool = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.stages: Mapping[str, int] = {"features": dim}

    def forward(self, x: Tensor, mask: Tensor | None = None, read: str = "pooled") -> Tensor | Tokens:
        """Return the features of inputs (B, ...) whose steps are those of `mask` (B, T), None: all."""
        return {"pooled": self.pooled, "tokens": self.tokens, "maps": self.maps}[read](x, mask)

    def pooled(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return features (B, dim): unless defined otherwise, the mean of the tokens."""
        if "tokens" not in self.reads:
            raise self._unreadable("pooled")
        return self.tokens(x, mask).pooled

    def tokens(self, x: Tensor, mask: Tensor | None = None) -> Tokens:
        """Return features kept apart in time."""
        raise self._unreadable("tokens")

    def maps(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return features kept apart in space (B, dim, h, w)."""
        raise self._unreadable("maps")

    def staged(self, x: Tensor, mask: Tensor | None = None) -> Staged:
        """Yield the map (B, C, ...) of each stage, take what comes back in its place, and return pooled features."""
        if "stages" not in self.reads:
            raise self._unreadable("stages")
        return (yield self.pooled(x, mask))

    @classmethod
    def remaining(cls, options: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the encoder {"name": …, options} that is left to train on what `given` gives; None where all trains.

        What `given` gives is then the same in every run and at every step.
        """
        return None

    def given(self, x: Tensor, mask: Tensor | None = None, read: str = "pooled") -> Tensor | Tokens:
        """Return what the `remaining` encoder is given to be read so: features (B, D), or steps of them."""
        raise NotImplementedError

    def layers(self) -> list[nn.Module]:
        """Return what holds its parameters, from the input up, in the steps that layer-wise learning rates fall by."""
        containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
        found: list[nn.Module] = []
        for child in self.children():
            found += child.children() if isinstance(child, containers) else [child]
        return [layer for layer in found if any(True for _ in layer.parameters())]

    def _unreadable(self, read: str) -> UserError:
        ways = ", ".join(self.reads)
        return UserError(
            f"encoder {type(self).__name__.lower()!r} cannot be read as {read}; admissible: {ways}"
        )


class ImageEncoder(Encoder):
    """Base of encoders of images (C, H, W), which take a video frame by frame; its features are the frames' mean.

    A subclass gives `begin`, what comes before the first stage, `blocks`, the stages by name, and `end`, from the
    last map (B, C, h, w) to features (B, dim). A video's maps have the shape (B, C, T, h, w) where they are exchanged,
    and are 0 in frames that are not there.
    """

    takes = ("image", "video")
    reads = ("pooled", "tokens", "stages")
    begin: nn.Module
    blocks: nn.ModuleDict
    end: nn.Module

    def pooled(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the features of an image, or the mean of a video's frames."""
        return self.tokens(x, mask).pooled if x.dim() == 5 else self.end(self.body(x))

    def tokens(self, x: Tensor, mask: Tensor | None = None) -> Tokens:
        """Return the features of each frame; those of an image are one frame's."""
        x = x if x.dim() == 5 else x.unsqueeze(1)
        frames, there = frames_of(x, mask)
        return Tokens(unfolded(self.end(self.body(frames)), there), there)

    def maps(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the last map of an image, or the mean of those of a video's frames."""
        if "maps" not in self.reads:
            raise self._unreadable("maps")
        if x.dim() == 4:
            return self.body(x)
        frames, there = frames_of(x, mask)
        count = there.sum(1).clamp_min(1).view(-1, 1, 1, 1)
        return unfolded(self.body(frames), there).sum(1) / count

    def staged(self, x: Tensor, mask: Tensor | None = None) -> Staged:
        """Yield the map of each stage; return pooled features."""
        frames, there = frames_of(x, mask) if x.dim() == 5 else (x, None)
        z = self.begin(frames)
        for block in self.blocks.values():
            z = block(z)
            if there is None:
                z = yield z
            else:
                exchanged = yield unfolded(z, there).transpose(1, 2)
                z = exchanged.transpose(1, 2)[there]
        z = self.end(z)
        return z if there is None else Tokens(unfolded(z, there), there).pooled

    def body(self, images: Tensor) -> Tensor:
        """Return the last map of images (N, C, H, W)."""
        z = self.begin(images)
        for block in self.blocks.values():
            z = block(z)
        return z


class Projected(Encoder):
    """An encoder whose features of another width are mapped to `dim` by a learned linear layer.

    It has no bias, so that the zeroed features of an absent modality stay zero.
    """

    def __init__(self, encoder: Encoder, dim: int) -> None:
        super().__init__(dim)
        self.encoder, self.reads, self.stages = encoder, encoder.reads, encoder.stages
        self.project = nn.Linear(encoder.dim, dim, bias=False)

    def layers(self) -> list[nn.Module]:
        """Return those of the encoder and the projection."""
        return [*self.encoder.layers(), self.project]

    def pooled(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mapped features."""
        return self.project(self.encoder(x, mask))

    def tokens(self, x: Tensor, mask: Tensor | None = None) -> Tokens:
        """Return the mapped tokens."""
        found = self.encoder.tokens(x, mask)
        return Tokens(self.project(found.values), found.mask)

    def maps(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mapped maps."""
        return self.project(self.encoder.maps(x, mask).movedim(1, -1)).movedim(-1, 1)

    def staged(self, x: Tensor, mask: Tensor | None = None) -> Staged:
        """Yield the encoder's maps as they are; return the mapped features."""
        pooled = yield from self.encoder.staged(x, mask)
        return self.project(pooled)


def frames_of(video: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the frames (N, C, H, W) of a video (B, T, C, H, W) that are there, and where they are, (B, T)."""
    if mask is None:
        mask = torch.ones(video.shape[:2], dtype=torch.bool, device=video.device)
    return video[mask], mask


def unfolded(frames: Tensor, there: Tensor) -> Tensor:
    """Return values of frames (N, ...) as (B, T, ...), 0 where there is none."""
    return frames.new_zeros(*there.shape, *frames.shape[1:]).index_put((there,), frames)
