"""CMU-MOSI and CMU-MOSEI as MMSA packs them: one pickle of text, sound and face features, cut to a length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock

from sweeper.models.atomic import written
from sweeper.models.data.dataset import Dataset, assemble, standardized
from sweeper.models.data.files import find, used
from sweeper.models.data.hashes import fingerprint_files
from sweeper.models.data.pickles import unpickled
from sweeper.models.data.published import Published, tell
from sweeper.models.data.splits import SPLITS, subset
from sweeper.models.errors import UserError
from sweeper.models.values import TIMED, InputSpec

Text = Literal["features", "tokens"]
Aim = Literal["regression", "classification"]
MODALITIES = ("text", "audio", "vision")
THEIRS = ("train", "valid", "test")  # the splits' names in the pickle
STEPS, WIDTH, VOCABULARY = 50, 768, 30522  # of aligned samples and of all text; BERT's, uncased
BOUND = 3  # of sentiment, on either side of 0

# what both corpora's PUBLISHED say
FEATURES = " features of Mao et al., M-SENA: An Integrated Platform for Multimodal Sentiment Analysis (ACL 2022 demo)"
LICENCE = "the terms are those of the CMU Multimodal SDK; the videos are their makers' on YouTube"
GET = "the MMSA repository, thuiar/MMSA on GitHub, links the folder of processed features"
FLAWS = (
    "sound features hold -inf and NaN, which are read as 0",
    "other papers (MAG-BERT, MIB) use COVAREP and FACET features of other widths under the same name; numbers on them"
    " do not compare",
    "accuracy of two classes has two conventions, and papers often print the greater: metrics acc2_has0 (negative or"
    " not) and acc2_non0 (negative or positive, zeros left out) are both reported",
)


@dataclass(frozen=True)
class Corpus:
    """A dataset's name, its folder below the data root, and (T, D) of its unaligned sound and faces."""

    name: str
    folder: str
    audio: tuple[int, int]
    vision: tuple[int, int]
    published: Published


def load(
    corpus: Corpus,
    root: Path | None,
    cache: Path | None,
    *,
    aligned: bool,
    text: Text,
    task: Aim,
    modalities: Sequence[str] | None,
    standardize: Literal["feature", "modality", "none"],
) -> Dataset:
    """Return the utterances of a corpus in the splits of the file.

    A row's length ends with its last step that is not all zeros: fillers of 0 behind it are left out, those before
    it count as steps. As classes, -3 to 3 are rounded (halves to even) and counted from 0.
    """
    path = file(corpus, root, aligned)
    found = _arrays(corpus.name, path, cache)
    specs = inputs(corpus, aligned, text, modalities)
    chosen = {m: found["tokens" if spec.kind == "tokens" else m] for m, spec in specs.items()}
    rows = {s: np.flatnonzero(found["split"] == i) for i, s in enumerate(SPLITS)}
    tell(corpus.name, corpus.published, {split: len(own) for split, own in rows.items()})
    target = found["target"]
    if task == "classification":
        target = np.clip(target, -BOUND, BOUND).round().astype(np.int64) + BOUND
    dataset = assemble(
        corpus.name,
        chosen,
        target,
        rows,
        {m: spec.kind for m, spec in specs.items()},
        task=task,
        n_classes=2 * BOUND + 1 if task == "classification" else None,
        lengths={m: steps(chosen[m]) for m, spec in specs.items() if spec.kind in TIMED},
        cite=corpus.published.cite,
    )
    return dataset if standardize == "none" else standardized(dataset, standardize)


def file(corpus: Corpus, root: Path | None, aligned: bool) -> Path:
    """Return the corpus's pickle; raise UserError if it is not there."""
    relative = f"{corpus.folder}/Processed/{'aligned' if aligned else 'unaligned'}_50.pkl"
    return find(corpus.name, root, relative, f"MMSA's pickle ({corpus.published.get})")


def inputs(
    corpus: Corpus, aligned: bool, text: Text, modalities: Sequence[str] | None
) -> dict[str, InputSpec]:
    """Return the chosen modalities as they are published."""
    every = {"text": InputSpec("sequence", (STEPS, WIDTH))}
    if text == "tokens":
        every = {"text": InputSpec("tokens", (STEPS,), "int64", VOCABULARY)}
    for modality, (length, width) in (("audio", corpus.audio), ("vision", corpus.vision)):
        every[modality] = InputSpec("sequence", (STEPS if aligned else length, width))
    return {m: every[m] for m in subset(corpus.name, "modality", modalities, MODALITIES)}


def steps(samples: np.ndarray) -> np.ndarray:
    """Return how many steps each of (N, T) or (N, T, D) has up to the last that is not 0, at least 1."""
    there = np.stack([(row.reshape(len(row), -1) != 0).any(1) for row in samples])
    last = there.shape[1] - there[:, ::-1].argmax(1)
    return np.where(there.any(1), last, 1)


def _arrays(name: str, path: Path, cache: Path | None) -> dict[str, np.ndarray]:
    """Return what the pickle holds, memory-mapped from `cache` where there is one: it is unpickled only once."""
    if cache is None:
        return _unpacked(name, path)
    folder = cache / f"{name}-{fingerprint_files([path, Path(__file__)], cache)}"
    done = folder / "done"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not done.exists():
            for key, array in _unpacked(name, path).items():
                with written(folder / f"{key}.npy") as part, part.open("wb") as file:
                    np.save(file, array)
            done.touch()
    used(folder)
    return {p.stem: np.load(p, mmap_mode="r") for p in sorted(folder.glob("*.npy"))}


def _unpacked(name: str, path: Path) -> dict[str, np.ndarray]:
    """Return text (N, T, 768), tokens (N, T), audio, vision (N, T, D), target (N,) and split (N,), 0 to 2.

    What is -∞ or no number becomes 0, as in MMSA: sound features have both.
    """
    parts = unpickled(name, path)
    where = f"dataset {name!r}: {path}"
    if not isinstance(parts, dict) or not set(THEIRS) <= set(parts):
        raise UserError(f"{where} has no splits {', '.join(THEIRS)}; MMSA's pickle is needed")

    def whole(key: str, of: str) -> np.ndarray:
        try:
            return np.concatenate([_numbers(parts[split][of]) for split in THEIRS])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{where} has no {of} for {key} in every split; MMSA's is needed") from error

    found = {m: whole(m, m) for m in MODALITIES}
    found["tokens"] = whole("tokens", "text_bert")[:, 0].astype(np.int32)
    found["target"] = whole("target", "regression_labels").reshape(-1)
    found["split"] = np.repeat(np.arange(3), [len(parts[split]["regression_labels"]) for split in THEIRS])
    return found


def _numbers(values: Any) -> np.ndarray:  # noqa: ANN401 - an array or nested lists
    array = np.asarray(values, np.float32)
    return np.nan_to_num(array, copy=False, nan=0.0, posinf=np.inf, neginf=0.0)
