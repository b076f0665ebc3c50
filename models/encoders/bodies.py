"""Pre-trained nets by the kind of input that they take: inputs (B, …) and their mask in, states and a summary out.

States are a row's hidden states, apart in time or space. The summary (B, D) is what the net's own pooler makes of
them. What a checkpoint says of scaling and size is done here, on the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from sweeper.models.encoders.features import there
from sweeper.models.errors import Misfit
from sweeper.models.values import InputSpec, Tokens

BICUBIC = 3  # as Pillow numbers the ways to resize
HALF = {"image_mean": [0.5], "image_std": [0.5]}  # what is assumed of a net that nobody trained


class Body(nn.Module):
    """A net for one kind of input, and what maps its pooler's output on, if a model has one of its own.

    `prepared` is how the checkpoint prepares inputs. `begins` says whether the first state is a summary by training,
    `pooling` is the pooling that the model is made for. Raises Misfit for inputs that the net cannot take.
    """

    begins = True
    pooling = "cls"

    def __init__(
        self, net: nn.Module, project: nn.Module | None, spec: InputSpec, prepared: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.net, self.project = net, project
        if project is not None:
            self.pooling = "pooler"

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tokens, Tensor | None]:
        """Return states (B, T', D), and the summary (B, D'), None where the net makes none."""
        raise NotImplementedError

    def _summary(self, output: Any) -> Tensor | None:  # noqa: ANN401 - of a class of transformers
        pooled = getattr(output, "pooler_output", None)
        if pooled is None:
            return None
        pooled = pooled.flatten(1)
        return pooled if self.project is None else self.project(pooled)

    @property
    def dtype(self) -> torch.dtype:
        """What the net computes in."""
        return next(self.net.parameters()).dtype


class Text(Body):
    """Tokens (B, T); a state for each."""

    pooling = "mean"

    def __init__(
        self, net: nn.Module, project: nn.Module | None, spec: InputSpec, prepared: Mapping[str, Any]
    ) -> None:
        super().__init__(net, project, spec, prepared)
        known = net.config.vocab_size
        if spec.vocabulary > known:
            raise Misfit(
                f"it knows {known} tokens, the dataset has {spec.vocabulary}; read texts with its own tokenizer"
            )
        places = next((m for n, m in net.named_modules() if n.endswith("position_embeddings")), None)
        skipped = getattr(places, "padding_idx", None)  # RoBERTa counts positions from behind it
        most = getattr(net.config, "max_position_embeddings", None) or math.inf
        most -= 0 if skipped is None else skipped + 1
        if spec.shape[0] > most:
            raise Misfit(
                f"it reads {most} tokens, the dataset has texts of {spec.shape[0]}; cut them shorter"
            )

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tokens, Tensor | None]:
        """Return the states of the tokens that are there."""
        mask = there(x, mask)
        filler = getattr(self.net.config, "pad_token_id", None) or 0
        output = self.net(input_ids=x.masked_fill(~mask, filler), attention_mask=mask.long())
        return Tokens(output.last_hidden_state * mask.unsqueeze(-1), mask), self._summary(output)


class Pictures(Body):
    """Images (N, C, H, W) of pixels from 0 to 255; a state for each patch or place."""

    def __init__(
        self, net: nn.Module, project: nn.Module | None, spec: InputSpec, prepared: Mapping[str, Any]
    ) -> None:
        super().__init__(net, project, spec, prepared)
        channels, config = spec.shape[-3], net.config
        if getattr(config, "num_channels", channels) != channels:
            raise Misfit(
                f"it is for images with {config.num_channels} channels, these have {channels}; read them with as many"
            )
        patches = hasattr(config, "patch_size")
        self.size = config.image_size if patches else None
        self.begins = patches
        if not patches:
            self.pooling = "pooler"
        self.mode = "bicubic" if prepared.get("resample") == BICUBIC else "bilinear"
        scale = prepared.get("rescale_factor", 1 / 255) if prepared.get("do_rescale", True) else 1.0
        own = prepared if prepared.get("do_normalize", True) else {"image_mean": [0.0], "image_std": [1.0]}
        for name in ("image_mean", "image_std"):
            told = torch.tensor(own.get(name) or HALF[name], dtype=torch.float32) / scale
            self.register_buffer(name, told.expand(channels).view(-1, 1, 1).clone(), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tokens, Tensor | None]:
        """Return the states of an image's places."""
        size = [self.size] * 2 if isinstance(self.size, int) else list(self.size or x.shape[-2:])
        if list(x.shape[-2:]) != size:
            x = interpolate(x, size, mode=self.mode, antialias=True, align_corners=False)
        x = (x - self.image_mean.to(x)) / self.image_std.to(x)
        output = self.net(pixel_values=x.to(self.dtype))
        states = output.last_hidden_state
        states = states.flatten(2).transpose(1, 2) if states.dim() == 4 else states
        return Tokens(states, there(states, None)), self._summary(output)


class Waves(Body):
    """Waveforms (B, T); a state for every so many samples, as a stack of convolutions makes them.

    Rows of one length go through the net together and without what follows them: norms over time would count it.
    """

    begins, pooling = False, "mean"

    def __init__(
        self, net: nn.Module, project: nn.Module | None, spec: InputSpec, prepared: Mapping[str, Any]
    ) -> None:
        super().__init__(net, project, spec, prepared)
        for module in net.modules():
            if hasattr(module, "_requires_grad"):  # would set a flag on its input, which may be no leaf
                module._requires_grad = False
        self.normal = bool(prepared.get("do_normalize", False))
        self.least = 1  # samples that the first state needs
        for kernel, stride in zip(*(reversed(c) for c in self._convolutions), strict=True):
            self.least = (self.least - 1) * stride + kernel

    @property
    def _convolutions(self) -> tuple[list[int], list[int]]:
        return self.net.config.conv_kernel, self.net.config.conv_stride

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tokens, Tensor | None]:
        """Return the states of each row's own samples."""
        lengths = there(x, mask).sum(1)
        longest = self._states(int(lengths.max()))
        found = x.new_zeros(len(x), longest, self.net.config.hidden_size)
        kept = torch.zeros(len(x), longest, dtype=torch.bool, device=x.device)
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero().squeeze(1)
            own = x[rows, :length]
            if self.normal:
                own = (own - own.mean(1, keepdim=True)) / (
                    own.var(1, keepdim=True, unbiased=False) + 1e-7
                ).sqrt()
            own = pad(own, (0, max(0, self.least - length)))
            states = self.net(input_values=own.to(self.dtype)).last_hidden_state.to(x.dtype)
            n = states.shape[1]
            found = found.index_put((rows[:, None], torch.arange(n, device=x.device)), states)
            kept[rows, :n] = True
        return Tokens(found, kept), None

    def _states(self, samples: int) -> int:
        n = max(samples, self.least)
        for kernel, stride in zip(*self._convolutions, strict=True):
            n = (n - kernel) // stride + 1
        return n


class Spectra(Body):
    """Log-mel spectrograms (B, T, D), or (B, 1, D, T) as images, of the length that the net is for or shorter.

    They are to be those that the model was trained on. What is not there is filled with each row's least number, since
    that is its silence. The states of nets that read time alone (Whisper) are masked as their input is.
    """

    def __init__(
        self, net: nn.Module, project: nn.Module | None, spec: InputSpec, prepared: Mapping[str, Any]
    ) -> None:
        super().__init__(net, project, spec, prepared)
        config = net.config
        self.timed = hasattr(config, "max_source_positions")
        self.begins, self.pooling = not self.timed, "mean" if self.timed else "pooler"
        self.most = 2 * config.max_source_positions if self.timed else config.max_length
        *_, bands, steps = spec.shape if spec.kind == "image" else reversed(spec.shape)
        if bands != config.num_mel_bins:
            raise Misfit(
                f"it reads {config.num_mel_bins} mel bands, the dataset has {bands}; read it with as many"
            )
        if steps > self.most:
            raise Misfit(f"it reads {self.most} steps, the dataset has {steps}; cut it shorter")
        scaled = not self.timed and prepared.get("do_normalize", False)
        self.mean, self.std = (prepared["mean"], 2 * prepared["std"]) if scaled else (0.0, 1.0)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tokens, Tensor | None]:
        """Return the states of a spectrogram, filled up with silence."""
        x = x.squeeze(1).transpose(1, 2) if x.dim() == 4 else x
        mask = there(x, mask)
        silence = x.masked_fill(~mask.unsqueeze(-1), torch.inf).amin((1, 2)).view(-1, 1, 1)
        whole = torch.where(mask.unsqueeze(-1), x, silence)
        whole = torch.cat([whole, silence.expand(-1, self.most - x.shape[1], x.shape[2])], 1)
        whole = ((whole - self.mean) / self.std).to(self.dtype)
        if not self.timed:
            output = self.net(input_values=whole)
            return Tokens(output.last_hidden_state, there(output.last_hidden_state, None)), self._summary(
                output
            )
        states = self.net(input_features=whole.transpose(1, 2)).last_hidden_state
        kept = mask[:, ::2]
        return Tokens(states[:, : kept.shape[1]] * kept.unsqueeze(-1), kept), None


def body_for(spec: InputSpec, net: nn.Module) -> type[Body]:
    """Return the class of the inputs that a net takes; raise Misfit if they are not the dataset's."""
    reads = getattr(net, "main_input_name", "")
    spectra = hasattr(net.config, "num_mel_bins")
    takes: dict[str, type[Body] | None] = {
        "tokens": Text if reads == "input_ids" else None,
        "image": Pictures if reads == "pixel_values" else None,
        "video": Pictures if reads == "pixel_values" else None,
        "audio": Waves if hasattr(net.config, "conv_kernel") else None,
        "sequence": Spectra if spectra else None,
    }
    if spectra and spec.kind == "image" and spec.shape[0] == 1:
        return Spectra
    if takes[spec.kind] is None:
        fitting = ", ".join(kind for kind, body in takes.items() if body) or "none that is known here"
        raise Misfit(f"it takes {fitting}, and these are samples of kind {spec.kind}")
    return takes[spec.kind]
