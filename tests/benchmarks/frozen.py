"""Frozen encoders: a sweep of runs on features that are kept, against the same runs that encode at every step."""

from __future__ import annotations

import csv
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.models.data.hashes import fingerprint_files
from sweeper.models.pretrained import located
from sweeper.models.training.run import Order, execute

ROWS, RUNS, SLOW_RUNS, EPOCHS, PIXELS = 320, 20, 2, 10, 64


def arrays(path: Path) -> None:
    """Write questions and radiographs of VQA-RAD, with the organ that they are about, as arrays."""
    from PIL import Image
    from transformers import AutoTokenizer

    root = Path(os.environ["SWEEPER_DATA"]) / "vqa_rad"
    with (root / "questions.csv").open() as file:
        rows = list(csv.DictReader(file))[:ROWS]
    read = AutoTokenizer.from_pretrained(located("minilm"))(
        [row["text"] for row in rows], padding=True, return_tensors="np"
    )
    images = []
    for row in rows:
        with Image.open(root / row["image"]) as image:
            images.append(np.asarray(image.convert("RGB").resize((PIXELS, PIXELS))).transpose(2, 0, 1))
    np.savez(
        path,
        x_text=read["input_ids"],
        text_length=read["attention_mask"].sum(1),
        x_image=np.stack(images),
        y=np.unique([row["organ"] for row in rows], return_inverse=True)[1],
        group=np.array([row["group"] for row in rows]),
    )


def payload(path: Path, seed: int) -> dict[str, Any]:
    """Return a final run of joint training on frozen MiniLM and MobileNetV2."""
    frozen = {"name": "hf", "trainable": "none", "dim": 64}
    models = {"text": located("minilm"), "image": located("mobilenetv2_imagenet")}
    prints = {m: fingerprint_files(sorted(folder.iterdir())) for m, folder in models.items()}
    return {
        "dataset": {
            "name": "arrays",
            "path": str(path),
            "kinds": {"text": "tokens"},
            "fingerprint": fingerprint_files([path]),
        },
        "encoders": {m: {**frozen, "model": str(models[m]), "fingerprint": prints[m]} for m in models},
        "augment": {},
        "fusion": {"name": "concat"},
        "method": {"name": "joint"},
        "train": {"epochs": EPOCHS, "least_steps": 1, "optimizer": "adamw", "lr": 1e-3},
        "metric": "accuracy",
        "conditions": ["clean"],
        "stage": "final",
        "seed": seed,
    }


def sweep(path: Path, folder: Path, cache: Path | None, runs: int) -> tuple[float, list[float]]:
    """Return the seconds that runs take one after another, and each one's loss on test rows."""
    began, losses = time.perf_counter(), []
    for seed in range(runs):
        result = execute(Order(payload(path, seed), folder / str(seed), cache=cache))
        losses.append(result["metrics"]["test/clean"]["loss"])
    return time.perf_counter() - began, losses


def main() -> None:
    """Print the seconds of both, and their ratio; of the slow sweep some runs are made and counted as all."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        arrays(folder / "vqa_rad.npz")
        execute(Order(payload(folder / "vqa_rad.npz", 0), folder / "warm"))  # imports are no part of either
        slow, expected = sweep(folder / "vqa_rad.npz", folder / "slow", None, SLOW_RUNS)
        fast, found = sweep(folder / "vqa_rad.npz", folder / "fast", folder / "cache", RUNS)
    slow *= RUNS / SLOW_RUNS
    apart = max(abs(a - b) for a, b in zip(expected, found, strict=False))
    print(f"{RUNS} runs on frozen encoders: {slow:.1f} s encoded at every step (from {SLOW_RUNS} runs),")
    print(f"{fast:.1f} s encoded once: {slow / fast:.0f} × faster; losses {apart:.1e} apart at most")
