"""Tiny files of the kinds that datasets are made of."""

from __future__ import annotations

import pickle
from pathlib import Path

import av
import numpy as np
import soundfile
from PIL import Image

RATE = 8000
EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
UTTERANCES = {"train": 12, "valid": 5, "test": 6}
WIDTHS = {"cmu_mosi": ("MOSI", 375, 5, 20), "cmu_mosei": ("MOSEI", 500, 74, 35)}
LONG = 7  # steps of every second row; the others have three


def on_disk(cache: Path) -> int:
    """Return the bytes of the arrays in a cache."""
    return sum(np.load(path, mmap_mode="r").nbytes for path in cache.glob("*.npy"))


def sound(path: Path, pitch: float = 440.0, seconds: float = 0.3) -> Path:
    """Write a tone as a .wav file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE), RATE)
    return path


def picture(path: Path, level: int = 0, size: tuple[int, int] = (16, 12)) -> Path:
    """Write an image of one grey level and of (width, height) `size`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level,) * 3).save(path)
    return path


def frames(folder: Path, level: int = 0, count: int = 4) -> Path:
    """Write a folder of frames, each a little brighter."""
    for i in range(count):
        picture(folder / f"{i + 1:05d}.jpg", level + i)
    return folder


def video(path: Path, levels: list[int], size: tuple[int, int] = (32, 24)) -> Path:
    """Write a video without sound, each frame of one grey level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for level in levels:
            pixels = np.full((size[1], size[0], 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return path


def table(path: Path, *lines: str, bom: bool = False) -> Path:
    """Write lines, after a byte order mark if asked to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig" if bom else "utf-8")
    return path


def media(folder: Path, ids: list[str]) -> None:
    """Write a sound and a folder of frames for each clip."""
    for i, name in enumerate(ids):
        sound(folder / "AudioWAV" / f"{name}.wav", 300 + 40 * i)
        frames(folder / "Image-01-FPS" / name, 5 * i)


def crema(root: Path, *, test: int = 6, bom: bool = True, place: str = "") -> list[str]:
    """Sixty clips of ten actors, of whom all are in train and most in test."""
    ids = [f"10{i // 6:02d}_IOM_{EMOTIONS[i % 6]}_XX" for i in range(60)]
    folder = root / "CREMA-D"
    media(folder, ids)
    for split, own in {"train": ids[: 60 - test], "test": ids[60 - test :]}.items():
        table(folder / place / f"{split}.csv", *(f"{i},{i[9:12]}" for i in own), bom=bom)
    return ids


def exported(root: Path, count: tuple[int, int] = (6, 3)) -> None:
    """Masks of all 41 values in frames of 12 × 16, depth in millimetres."""
    rng = np.random.default_rng(0)
    for split, n in zip(("train", "test"), count, strict=True):
        for i in range(n):
            arrays = {
                "rgb": rng.integers(0, 256, (12, 16, 3), dtype=np.uint8),
                "depth": np.full((12, 16), 3000 + i, np.uint16),
                "labels_40": np.resize(np.arange(41, dtype=np.uint8), (12, 16)),
            }
            for folder, array in arrays.items():
                path = root / "nyu_depth_v2" / split / folder / f"{i:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)


def utterances(count: int, audio: tuple[int, int], vision: tuple[int, int], seed: int) -> dict:
    """A split as MMSA packs it: right-padded with 0, regression labels from -3 to 3, -inf in sound."""
    rng = np.random.default_rng(seed)
    held = {
        "text": rng.normal(size=(count, 50, 768)),
        "audio": rng.normal(size=(count, *audio)),
        "vision": rng.normal(size=(count, *vision)).astype(np.float32),
    }
    tokens = np.zeros((count, 3, 50))
    tokens[:, 0] = rng.integers(1000, 30522, size=(count, 50))
    for array in (*held.values(), tokens.transpose(0, 2, 1)):
        array[::2, LONG:] = 0
        array[1::2, 3:] = 0
    held["audio"][0, 1, 0] = -np.inf
    held["audio"][1, 2, 1] = np.nan
    labels = np.resize([-3.0, -2.4, -1.0, 0.0, 0.8, 2.0, 3.0], count)
    ids = [f"video{i // 2}$_${i % 2}" for i in range(count)]
    return held | {
        "text_bert": tokens,
        "raw_text": np.array([f"sentence {i}" for i in range(count)], dtype=object),
        "id": ids,
        "annotations": np.array(["Neutral"] * count),
        "regression_labels": labels,
    }


def mmsa(root: Path, name: str, *, aligned: bool = True, protocol: int = 4) -> Path:
    """Write the pickle of a corpus."""
    folder, *_ = WIDTHS[name]
    _, length, audio, vision = WIDTHS[name]
    sizes = ((50, audio), (50, vision)) if aligned else ((length, audio), (500, vision))
    path = root / folder / "Processed" / f"{'aligned' if aligned else 'unaligned'}_50.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {split: utterances(n, *sizes, seed) for seed, (split, n) in enumerate(UTTERANCES.items())}
    path.write_bytes(pickle.dumps(parts, protocol))
    return path
