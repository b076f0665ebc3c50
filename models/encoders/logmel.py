"""Spectrograms that the net computes itself of sound as it was recorded, noise in it included."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sweeper.models.encoders.base import Staged
from sweeper.models.encoders.convnet import Convnet
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec, Tokens

FAINT = 1e-6  # power of what counts as silence, where a sound's mean power is 1


class Logmel(Convnet):
    """A convolutional net (convnet) of the log-mel spectrogram (1, n_mels, 1 + T // hop) of a waveform (T,).

    Hann windows of `n_fft` samples every `hop`, power in `n_mels` bands of the mel scale (O'Shaughnessy, 1987) up to
    half of `sample_rate` (Hz), log, and mean 0 and std 1 in each recording, as PMR's spectrograms have them. Sounds
    are filled up with silence to the longest row's length. Made for data that are kept as waveforms, so that a
    condition can set a signal-to-noise ratio; a spectrogram that was computed beforehand is an image. Raises UserError
    for more bands than frequencies.
    """

    takes = ("audio",)
    default_for = ()

    def __init__(
        self,
        spec: InputSpec,
        *,
        sample_rate: Count = 16000,
        n_fft: Count = 512,
        hop: Count = 160,
        n_mels: Count = 64,
        **options: Any,  # noqa: ANN401 - convnet's
    ) -> None:
        super().__init__(InputSpec("image", (1, n_mels, 1 + spec.shape[0] // hop)), **options)
        self.samples, self.n_fft, self.hop = spec.shape[0], n_fft, hop
        bank = mel_filters(sample_rate, n_fft, n_mels)
        if not bank.any(1).all():
            raise UserError(
                f"encoder 'logmel': n_mels={n_mels} leaves bands without a frequency at n_fft={n_fft}; fewer are"
                " admissible"
            )
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def pooled(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return features (B, dim)."""
        return super().pooled(self.spectrogram(x, mask))

    def tokens(self, x: Tensor, mask: Tensor | None = None) -> Tokens:
        """Return the features as a single token: the maps are of the whole recording."""
        return super().tokens(self.spectrogram(x, mask))

    def staged(self, x: Tensor, mask: Tensor | None = None) -> Staged:
        """Yield the map of each stage; return pooled features."""
        return (yield from super().staged(self.spectrogram(x, mask)))

    def spectrogram(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return the spectrograms (B, 1, n_mels, 1 + T // hop) of waveforms (B, T)."""
        if not len(x):  # of which the Fourier transform takes none
            return x.new_zeros(0, 1, len(self.bank), 1 + self.samples // self.hop)
        x = x if mask is None else x * mask
        half = self.n_fft // 2
        padded = functional.pad(x, (half, self.n_fft - half + self.samples - x.shape[1]))
        with torch.autocast(x.device.type, enabled=False):  # bf16 has no Fourier transform
            frames = padded.unfold(1, self.n_fft, self.hop)[:, : 1 + self.samples // self.hop] * self.window
            power = torch.fft.rfft(frames).abs().square() / self.n_fft
            bands = (power @ self.bank.T + FAINT).log().transpose(1, 2).unsqueeze(1)
            return nn.functional.instance_norm(bands)


def mel_filters(sample_rate: int, n_fft: int, bands: int) -> Tensor:
    """Return the weights (bands, 1 + n_fft // 2) of frequencies in triangles that are evenly spaced in mel."""
    highest = 2595 * torch.tensor(1 + sample_rate / 2 / 700).log10()
    edges = 700 * (10 ** (torch.linspace(0, float(highest), bands + 2) / 2595) - 1)
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    frequency = torch.linspace(0, sample_rate / 2, 1 + n_fft // 2)
    return torch.minimum(
        (frequency - left) / (middle - left), (right - frequency) / (right - middle)
    ).clamp_min(0)
