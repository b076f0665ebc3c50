"""Spectrograms of sound files, computed once for all processes and kept as one memory-mapped array."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock

from sweeper.models.data.files import readable
from sweeper.models.data.hashes import fingerprint_files
from sweeper.models.errors import UserError

FLOOR_DB = -80.0
TINY = 1e-20


def default_cache() -> Path:
    """Return this user's folder for derived files among the temporary ones, for when none is named."""
    return Path(tempfile.gettempdir()) / f"sweeper-{os.getuid()}"


def features(
    paths: Sequence[Path],
    cache: Path,
    *,
    kind: Literal["logmel", "logstft"] = "logmel",
    sample_rate: int,
    seconds: float,
    n_fft: int,
    hop: int,
    n_mels: int,
) -> np.ndarray:
    """Return the read-only, memory-mapped spectrograms (N, 1, F, T) of `paths` in dB, float32.

    The first `seconds` of each wav or flac, channels averaged, resampled to `sample_rate` (Hz), padded with
    silence; Hann windows of `n_fft` samples every `hop`, so T = 1 + samples // hop; F is `n_mels` (Slaney's
    bands) or 1 + n_fft // 2. A recording's loudest is 0 dB and whatever is below -80 dB is -80 dB, so how
    near the microphone was does not show. The array stays in `cache` under a name made of the contents, the
    parameters and this code; of several processes one computes it and the others wait. Raises UserError for a
    file that cannot be read and impossible settings.
    """
    samples = round(seconds * sample_rate)
    if min(n_fft, hop, n_mels) < 1 or samples < n_fft:
        raise UserError(
            f"{seconds} s at {sample_rate} Hz are {samples} samples for windows of n_fft={n_fft} every"
            f" hop={hop} in n_mels={n_mels} bands; all must be positive, with n_fft samples or more"
        )
    bands = n_mels if kind == "logmel" else None
    contents = fingerprint_files([*paths, Path(__file__)], cache)
    words = [contents, version("librosa"), kind, sample_rate, samples, n_fft, hop, bands]
    key = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]
    final = cache / f"{kind}-{key}.npy"
    if not final.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(final.with_suffix(".lock")):
            if not final.exists():
                own = shape(
                    kind=kind, sample_rate=sample_rate, seconds=seconds, n_fft=n_fft, hop=hop, n_mels=n_mels
                )
                _build(
                    final, (len(paths), *own), _spectrograms(paths, sample_rate, samples, n_fft, hop, bands)
                )
    with readable(f"{kind} features", final):
        return np.load(final, mmap_mode="r")


def shape(
    *, kind: str, sample_rate: int, seconds: float, n_fft: int, hop: int, n_mels: int
) -> tuple[int, int, int]:
    """Return the shape (1, F, T) of a spectrogram under these settings."""
    return 1, n_mels if kind == "logmel" else 1 + n_fft // 2, 1 + round(seconds * sample_rate) // hop


def _build(final: Path, shape: tuple[int, ...], rows: Iterator[np.ndarray]) -> None:
    """Write `rows` as an array file that appears under its name only when whole."""
    part = final.with_suffix(".part")
    try:
        with part.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f4", "fortran_order": False, "shape": shape}
            )
            for row in rows:
                file.write(row.astype("<f4").tobytes())
            file.flush()
            os.fsync(file.fileno())
        part.replace(final)
    finally:
        part.unlink(missing_ok=True)


def _spectrograms(
    paths: Sequence[Path], sample_rate: int, samples: int, n_fft: int, hop: int, bands: int | None
) -> Iterator[np.ndarray]:
    """Yield each file's spectrogram (F, T) in dB."""
    import librosa

    bank = _bank(sample_rate, n_fft, bands) if bands else None
    for path in paths:
        sound = _sound(path, sample_rate, samples)
        power = np.abs(librosa.stft(sound, n_fft=n_fft, hop_length=hop)) ** 2
        power = power if bank is None else bank @ power
        # a silent recording lies on the floor throughout, which librosa's own ref=np.max would put at 0 dB
        yield librosa.power_to_db(power / max(power.max(), TINY), amin=10 ** (FLOOR_DB / 10), top_db=None)


def _bank(sample_rate: int, n_fft: int, bands: int) -> np.ndarray:
    """Return mel filters (bands, 1 + n_fft // 2); raise UserError where a band holds no frequency."""
    import librosa

    with warnings.catch_warnings(action="ignore"):  # librosa warns of empty bands, which are refused here
        bank = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=bands)
    if not bank.any(1).all():
        raise UserError(
            f"n_mels={bands} leaves bands without a frequency at n_fft={n_fft}; fewer are admissible"
        )
    return bank


def _sound(path: Path, sample_rate: int, samples: int) -> np.ndarray:
    """Return the beginning of a file, (samples,) float32 at `sample_rate`, channels averaged."""
    import librosa
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            wanted = min(file.frames, -(-samples * file.samplerate // sample_rate))
            wave, rate = file.read(wanted, dtype="float32", always_2d=True), file.samplerate
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read as sound ({error}); replace it or take it away") from error
    usable = int(np.isfinite(wave).all(1).sum())
    if not wanted or usable < wanted:
        raise UserError(f"{path} holds {usable} usable samples of {wanted}; replace it or take it away")
    wave = wave.mean(1)
    if rate != sample_rate:
        wave = librosa.resample(wave, orig_sr=rate, target_sr=sample_rate)
    return np.pad(wave[:samples], (0, max(0, samples - len(wave))))
