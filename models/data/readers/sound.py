"""Sound files, and the sound of videos, as spectrograms or waveforms."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from sweeper.models.data.readers.base import Cell, Reader, Unreadable, decoding
from sweeper.models.data.readers.container import SUFFIXES, opened
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count, Positive
from sweeper.models.values import InputSpec

FLOOR_DB = -80.0
TINY = 1e-20
CONTAINERS = (*SUFFIXES, ".m4a", ".aac", ".wma")
WHISPER = {"sample_rate": 16000, "seconds": 30.0, "n_fft": 400, "hop": 160, "n_mels": 80, "axes": "sequence"}


class Sound(Reader):
    """The first `seconds` of a recording, channels averaged, resampled to `sample_rate` Hz, in one of five forms.

    wave: samples (T,). logmel: `n_mels` of Slaney's bands; logstft: 1 + n_fft // 2 frequencies; both in Hann windows
    of `n_fft` samples centred every `hop`. psd: the log of SciPy's power spectral density in windows that lie within
    the recording, standardised by itself, as PMR has it (Fan et al. 2023). whisper: up to 3000 steps of 80 bands, of
    30 s at 16 kHz, as its encoder takes them (Radford et al. 2022), with `axes` sequence whatever else is said.

    With `axes` image a spectrogram is (1, F, T), as long as `seconds`; with sequence (T, F), as long as the recording.
    `fill`: what follows a recording that is shorter, silence or the recording again. `scale`: peak is dB below the
    recording's loudest, down to -80, so how near the microphone was does not show; log is ln(|x| + 1e-7) of magnitudes.

    OGM-GE's 257 × 188: form logstft, sample_rate 22050, seconds 3, n_fft 512, hop 353, fill repeat, scale log;
    LFM's released 257 × 1250: the same with seconds 20. PMR's and LFM's 257 × 299: form psd, sample_rate 22050,
    seconds 2.17687, n_fft 512, hop 159, fill repeat; 257 × 1004: the same with seconds 7.25624.
    """

    suffixes = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", *CONTAINERS)
    libraries = ("librosa", "scipy", "soundfile", "soxr", "av")

    def __init__(
        self,
        *,
        form: Literal["logmel", "logstft", "psd", "wave", "whisper"] = "logmel",
        sample_rate: Count = 16000,
        seconds: Positive = 10.0,
        n_fft: Count = 400,
        hop: Count = 160,
        n_mels: Count = 80,
        axes: Literal["image", "sequence"] = "image",
        fill: Literal["silence", "repeat"] = "silence",
        scale: Literal["peak", "log"] = "peak",
    ) -> None:
        self.form, self.axes, self.fill, self.scale = form, axes, fill, scale
        self.sample_rate, self.seconds = sample_rate, seconds
        self.n_fft, self.hop, self.n_mels = n_fft, hop, n_mels
        if form == "whisper":
            vars(self).update(WHISPER)
        self.samples = round(self.seconds * self.sample_rate)
        if min(self.n_fft, self.hop, self.n_mels) < 1 or self.samples < (1 if form == "wave" else self.n_fft):
            raise UserError(
                f"{seconds} s at {sample_rate} Hz are {self.samples} samples for windows of n_fft={n_fft} every"
                f" hop={hop} in n_mels={n_mels} bands; all must be positive, with n_fft samples or more"
            )

    def spec(self) -> InputSpec:
        """Return the longest waveform or spectrogram."""
        if self.form == "wave":
            return InputSpec("audio", (self.samples,))
        bands = self.n_mels if self.form in ("logmel", "whisper") else 1 + self.n_fft // 2
        within = self.samples - self.n_fft if self.form == "psd" else self.samples
        steps = within // self.hop + (self.form != "whisper")
        if self.axes == "image":
            return InputSpec("image", (1, bands, steps))
        return InputSpec("sequence", (steps, bands))

    def read(self, cell: Cell) -> np.ndarray:
        """Return the waveform or spectrogram of a cell's one file, float32."""
        if len(cell) != 1:
            raise Unreadable(f"it names {len(cell)} recordings; one is read")
        own = recording(cell[0], self.sample_rate, self.samples)
        wave = self._filled(own)
        if self.form == "wave":
            return wave
        found = self._spectrogram(wave)
        if self.form == "whisper" and self.fill == "silence":
            # what the recording reaches, and one step more, which says what silence is
            found = found[:, : 1 - (-(len(own) + self.n_fft // 2) // self.hop)]
        return found[None] if self.axes == "image" else np.ascontiguousarray(found.T)

    def _filled(self, wave: np.ndarray) -> np.ndarray:
        """Return a recording (T,) as long as it has to be."""
        wave = wave[: self.samples]
        if self.fill == "repeat":
            return np.resize(wave, self.samples)
        if self.spec().kind == "image" or self.form == "whisper":
            return np.pad(wave, (0, self.samples - len(wave)))
        return wave if self.form == "wave" else np.pad(wave, (0, max(0, self.n_fft - len(wave))))

    def _spectrogram(self, wave: np.ndarray) -> np.ndarray:
        """Return (F, T) on the scale that was chosen."""
        import librosa

        if self.form == "psd":
            return _density(wave, self.sample_rate, self.n_fft, self.hop)
        edges = "reflect" if self.form == "whisper" else "constant"
        magnitude = np.abs(librosa.stft(wave, n_fft=self.n_fft, hop_length=self.hop, pad_mode=edges))
        power = magnitude**2
        power = power if self.form == "logstft" else bank(self.sample_rate, self.n_fft, self.n_mels) @ power
        if self.form == "whisper":
            return _whisper(power[:, :-1])
        if self.scale == "log":
            return np.log(np.sqrt(power) + 1e-7)
        # a silent recording lies on the floor throughout, which librosa's own ref=np.max would put at 0 dB
        return librosa.power_to_db(power / max(power.max(), TINY), amin=10 ** (FLOOR_DB / 10), top_db=None)


def _density(wave: np.ndarray, sample_rate: int, n_fft: int, hop: int) -> np.ndarray:
    """Return the log of the power spectral density (F, T), standardised."""
    from scipy.signal import spectrogram

    density = np.log(spectrogram(wave, sample_rate, nperseg=n_fft, noverlap=n_fft - hop)[2] + 1e-7)
    return (density - density.mean()) / (density.std() + 1e-9)


def _whisper(power: np.ndarray) -> np.ndarray:
    """Return mel power as (lg + 4) / 4, where lg is its decimal logarithm, cut 8 below the largest."""
    lg = np.log10(np.maximum(power, 1e-10))
    return (np.maximum(lg, lg.max() - 8) + 4) / 4


@cache
def bank(sample_rate: int, n_fft: int, bands: int) -> np.ndarray:
    """Return mel filters (bands, 1 + n_fft // 2); raise UserError where a band holds no frequency."""
    import librosa

    frequencies = librosa.fft_frequencies(sr=sample_rate, n_fft=n_fft)
    edges = librosa.mel_frequencies(bands + 2, fmax=sample_rate / 2)[:, None]
    if not ((frequencies > edges[:-2]) & (frequencies < edges[2:])).any(1).all():
        raise UserError(
            f"n_mels={bands} leaves bands without a frequency at n_fft={n_fft}; fewer are admissible"
        )
    return librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=bands)


def recording(path: Path, sample_rate: int, samples: int) -> np.ndarray:
    """Return up to the first `samples` of a file at `sample_rate`, channels averaged, float32; raises Unreadable."""
    import librosa

    with decoding():
        decoded = _of_container if path.suffix.lower() in CONTAINERS else _of_sound
        wave, wanted, rate = decoded(path, lambda rate: -(-samples * rate // sample_rate))
    usable = int(np.isfinite(wave).all(1).sum())
    if not wanted or usable < wanted:
        raise Unreadable(f"it holds {usable} usable samples of {wanted}")
    wave = wave.mean(1)
    return wave if rate == sample_rate else librosa.resample(wave, orig_sr=rate, target_sr=sample_rate)


def _of_sound(path: Path, most: Callable[[int], int]) -> tuple[np.ndarray, int, int]:
    """Return the beginning (T, channels) of a sound file, how many samples it should have, and their rate.

    `most` says how many samples of a rate are wanted.
    """
    import soundfile

    with soundfile.SoundFile(path) as file:
        wanted = min(file.frames, most(file.samplerate))
        return file.read(wanted, dtype="float32", always_2d=True), wanted, file.samplerate


def _of_container(path: Path, most: Callable[[int], int]) -> tuple[np.ndarray, int, int]:
    """Return the same of the first sound track of a video; how long that should be is not known."""
    import av

    with opened(path, "audio") as (container, stream):
        wanted, blocks, have = most(stream.rate), [np.zeros((0, stream.channels), np.float32)], 0
        resampler = av.AudioResampler(format="fltp")  # the same samples as fractions, each channel by itself
        for frame in container.decode(stream):
            blocks += [part.to_ndarray().T for part in resampler.resample(frame)]
            have += frame.samples
            if have >= wanted:
                break
        wave = np.concatenate(blocks)[:wanted]
        return wave, len(wave), stream.rate
