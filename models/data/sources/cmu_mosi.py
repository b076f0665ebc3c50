"""`cmu_mosi`: sentiment of 93 opinion videos' utterances; words, voice and face, from MMSA's pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sweeper.models.data import sentiment
from sweeper.models.data.dataset import Dataset
from sweeper.models.data.published import Published
from sweeper.models.values import InputSpec

PUBLISHED = Published(
    cite="Zadeh et al., MOSI: Multimodal Corpus of Sentiment Intensity and Subjectivity Analysis in Online Opinion"
    " Videos (2016);" + sentiment.FEATURES,
    licence=sentiment.LICENCE,
    get=sentiment.GET,
    layout="MOSI/Processed/aligned_50.pkl and unaligned_50.pkl",
    counts={"train": 1284, "validation": 229, "test": 686},
    flaws=sentiment.FLAWS,
)
CORPUS = sentiment.Corpus("cmu_mosi", "MOSI", audio=(375, 5), vision=(500, 20), published=PUBLISHED)


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    aligned: bool = True,
    text: Literal["features", "tokens"] = "features",
    task: Literal["regression", "classification"] = "regression",
    modalities: list[Literal["text", "audio", "vision"]] | None = None,
    standardize: Literal["feature", "modality", "none"] = "feature",
) -> Dataset:
    """Return the utterances with their sentiment from -3 to 3, in the splits of the file.

    Modalities: `text`, BERT's features (50, 768) or its tokens (50,); `audio` and `vision`, features at each word if
    `aligned`, else at their own rates. As `classification` the seven whole sentiments are classes. Raises UserError
    for a missing file, and for a pickle that holds more than arrays, without running it.
    """
    options = {"aligned": aligned, "text": text, "modalities": modalities}
    return sentiment.load(CORPUS, root, cache, task=task, standardize=standardize, **options)


def inputs(
    *, aligned: bool = True, text: str = "features", modalities: list[str] | None = None, **_: object
) -> dict[str, InputSpec]:
    """Return the chosen modalities."""
    return sentiment.inputs(CORPUS, aligned, text, modalities)


def files(*, root: Path | None = None, aligned: bool = True, **_: object) -> list[Path]:
    """Return the one pickle."""
    return [sentiment.file(CORPUS, root, aligned)]


def task(*, task: str = "regression", **_: object) -> str:
    """Return the task as named."""
    return task
