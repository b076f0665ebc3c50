"""`grid_digits`: spoken digits with the speaker's lips, short windows of the GRID corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from sweeper.models.data.dataset import Dataset, assemble, standardized
from sweeper.models.data.files import find, read
from sweeper.models.data.published import Published
from sweeper.models.data.splits import SPLITS, subset
from sweeper.models.errors import UserError
from sweeper.models.values import InputKind, InputSpec

PUBLISHED = Published(
    cite=(
        "Cooke, Barker, Cunningham & Shao, An audio-visual corpus for speech perception and automatic speech"
        " recognition (JASA 120(5), 2006)"
    ),
    licence="CC BY 4.0",
    get="speaker s1 of the corpus, http://spandh.dcs.shef.ac.uk/gridcorpus, cut into windows of half a second",
    layout=(
        "grid_digits/digit_windows.npz with\n"
        "  audio (450, 8000) int16 at 16 kHz, video (450, 12, 32, 48) uint8 of the mouth,\n"
        "  y and color (450,) words, split (450,) train, val or test"
    ),
    counts={"train": 272, "validation": 59, "test": 119},
    flaws=(
        "one speaker in all splits: what is learned tells nothing of other people",
        "windows are cut around the digit, whose place in the sentence the corpus tells",
    ),
)
FILE = "grid_digits/digit_windows.npz"
WORDS = {
    "digit": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "colour": ("blue", "green", "red", "white"),
}
COLUMN = {"digit": "y", "colour": "color"}
SPLIT = {"train": "train", "validation": "val", "test": "test"}
SAMPLES, RATE, FRAMES, PIXELS = 8000, 16000, 12, (32, 48)
N_FFT, HOP, BANDS = 512, 160, 40
FLOOR_DB = -80.0


def load(
    *,
    root: Path | None = None,
    modalities: list[Literal["sound", "lips"]] | None = None,
    sound: Literal["wave", "logmel"] = "wave",
    lips: Literal["video", "image"] = "video",
    target: Literal["digit", "colour"] = "digit",
) -> Dataset:
    """Return the windows of half a second, in the file's order and its splits: 272 train, 59 validation, 119 test.

    Modalities: `sound`, a waveform (8000,) of int16 at 16 kHz, to which noise can be added in dB, or its log-mel
    spectrogram (1, 40, 51) in dB below its loudest, at least -80; `lips`, a video (12, 1, 32, 48) of uint8 at 25
    frames a second, or an image (12, 32, 48) whose channels are the frames, so that nets of images see their order
    (early fusion of Chung & Zisserman, Lip Reading in the Wild, ACCV 2016). The target is the digit that is spoken (10
    classes), or the colour that the sentence names elsewhere (4), which a window does not show. Raises UserError if the
    file is missing or not this data.
    """
    path = files(root=root)[0]
    raw = read("grid_digits", path)
    kinds = {m: spec.kind for m, spec in inputs(modalities=modalities, sound=sound, lips=lips).items()}
    try:
        arrays = {m: _input(m, kind, raw) for m, kind in kinds.items()}
        words, split = raw[COLUMN[target]], raw["split"]
    except KeyError as error:
        raise UserError(
            f"dataset 'grid_digits': {path} lacks the array {error}; it is another file"
        ) from error
    odd = sorted({*words.tolist()} - {*WORDS[target]})
    if odd:
        raise UserError(
            f"dataset 'grid_digits': {path} holds the {target} {odd[0]!r}; admissible: {', '.join(WORDS[target])}"
        )
    labels = np.array([WORDS[target].index(word) for word in words.tolist()])
    rows = {own: np.flatnonzero(split == SPLIT[own]) for own in SPLITS}
    classes = len(WORDS[target])
    return standardized(
        assemble("grid_digits", arrays, labels, rows, kinds, n_classes=classes, cite=PUBLISHED.cite)
    )


def inputs(
    *,
    root: Path | None = None,
    modalities: list[str] | None = None,
    sound: str = "wave",
    lips: str = "video",
    **_: object,
) -> dict[str, InputSpec]:
    """Return the chosen modalities."""
    wave, spectrogram = InputSpec("audio", (SAMPLES,)), InputSpec("image", (1, BANDS, 1 + SAMPLES // HOP))
    video, image = InputSpec("video", (FRAMES, 1, *PIXELS)), InputSpec("image", (FRAMES, *PIXELS))
    own = {"sound": wave if sound == "wave" else spectrogram, "lips": video if lips == "video" else image}
    return {m: own[m] for m in subset("grid_digits", "modality", modalities, list(own))}


def files(*, root: Path | None = None, **_: object) -> list[Path]:
    """Return the one file; no option changes which."""
    return [find("grid_digits", root, FILE, "the windows of spoken digits")]


def _input(modality: str, kind: InputKind, raw: dict[str, np.ndarray]) -> np.ndarray:
    if modality == "lips":
        return raw["video"][:, :, None] if kind == "video" else raw["video"]
    return raw["audio"] if kind == "audio" else _logmel(raw["audio"])


def _logmel(waves: np.ndarray) -> np.ndarray:
    """Return spectrograms (N, 1, BANDS, 1 + T // HOP) of waves (N, T)."""
    import librosa

    power = np.abs(librosa.stft(waves / 2**15, n_fft=N_FFT, hop_length=HOP)) ** 2
    bands = librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=BANDS) @ power
    loudest = np.maximum(bands.max((1, 2), keepdims=True), 1e-20)
    return (10 * np.log10(np.maximum(bands / loudest, 10 ** (FLOOR_DB / 10))))[:, None].astype(np.float32)
