"""Sound and pictures as the audio-visual papers put them before ResNet-18."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from sweeper.models.data.readers.base import Cell, Reader, decoding
from sweeper.models.data.readers.sound import Sound, recording
from sweeper.models.values import InputSpec

RATE, WINDOW, OVERLAP = 22050, 512, 353  # Hz, and samples: OGM-GE's hop is PMR's overlap

Spectrogram = Literal["257x188", "257x1250", "257x299", "257x1004"]
# log |STFT| of a clip repeated to 3 s (OGM-GE) or 20 s (LFM's released code)
LOUDNESS: dict[str, Mapping[str, Any]] = {
    name: {
        "form": "logstft",
        "sample_rate": RATE,
        "seconds": seconds,
        "n_fft": WINDOW,
        "hop": OVERLAP,
        "fill": "repeat",
        "scale": "log",
    }
    for name, seconds in (("257x188", 3.0), ("257x1250", 20.0))
}
# log power density of so many samples of a clip repeated (PMR, LFM's paper)
DENSITY = {"257x299": 48_000, "257x1004": 160_000}


class Density(Reader):
    """Log power density (1, 257, T) of the first `samples` of a clip at 22,050 Hz, repeated if it is shorter.

    Tukey windows of 512 samples every 159, without padding, so T = (samples - 353) // 159; mean 0 and std 1 in each
    clip. Source: the preparation script of PMR (Fan et al., CVPR 2023), which LFM follows.
    """

    suffixes = Sound.suffixes
    libraries = (*Sound.libraries, "scipy")

    def __init__(self, *, samples: int) -> None:
        self.samples = samples

    def spec(self) -> InputSpec:
        """Return an image (1, 257, T)."""
        return InputSpec("image", (1, 1 + WINDOW // 2, (self.samples - OVERLAP) // (WINDOW - OVERLAP)))

    def read(self, cell: Cell) -> np.ndarray:
        """Return the density of a cell's one file, float32."""
        from scipy.signal import spectrogram

        with decoding():
            wave = np.resize(recording(cell[0], RATE, self.samples), self.samples).clip(-1, 1)
            density = spectrogram(wave, RATE, nperseg=WINDOW, noverlap=OVERLAP)[2]
            found = np.log(density + 1e-7)
            return ((found - found.mean()) / (found.std() + 1e-9))[None].astype(np.float32)


def reader(spectrogram: Spectrogram) -> Reader:
    """Return what reads sound as a spectrogram of this size."""
    if spectrogram in DENSITY:
        return Density(samples=DENSITY[spectrogram])
    return Sound(**LOUDNESS[spectrogram])
