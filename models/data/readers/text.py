"""Texts as counts of words, as hashed words, or as a pre-trained model's tokens."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from zlib import crc32

import numpy as np

from sweeper.models.data.readers.base import Cell, Reader, Unreadable
from sweeper.models.errors import UserError, one_line
from sweeper.models.pretrained import located
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WORDS = re.compile(r"\w+|[^\w\s]")  # a run of letters and digits, or one other sign
WHOLE = "tokenizer.json"  # a tokenizer with all that it needs
PARTS = ("vocab.txt", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


class Text(Reader):
    """Texts in Unicode's form NFC, as what `form` says, or as tokens where a `tokenizer` is named.

    `bag`: how often each word stands there, upper case as lower, a vector of `features` numbers in which words are
    put by a hash, of length 1 (Weinberger et al., Feature Hashing, ICML 2009, without signs). `words`: the first
    `length` words as tokens 1 to `vocabulary` - 1, by the same hash. `tokenizer` names a model as `pretrained` finds
    it: its tokens, at most `length` with the special ones, in its own numbers. A text without a word is unreadable.
    """

    def __init__(
        self,
        *,
        form: Literal["bag", "words"] = "bag",
        features: Count = 512,
        vocabulary: Count = 4096,
        length: Count = 64,
        tokenizer: str | None = None,
        revision: str = "main",
    ) -> None:
        if vocabulary < 2:
            raise UserError(f"reader 'text': vocabulary is {vocabulary}; 2 or more are admissible")
        self.form, self.features, self.vocabulary, self.length = form, features, vocabulary, length
        self.tokenizer, self.revision = tokenizer, revision
        self.libraries = ("tokenizers",) if tokenizer else ()
        self.dtype = "float32" if form == "bag" and not tokenizer else "int32"

    def spec(self) -> InputSpec:
        """Return a vector (features,), or tokens (length,)."""
        if self.tokenizer:
            return InputSpec("tokens", (self.length,), "int64", *_known(self._folder()))
        if self.form == "bag":
            return InputSpec("vector", (self.features,))
        return InputSpec("tokens", (self.length,), "int64", self.vocabulary)

    def read(self, cell: Cell) -> np.ndarray:
        """Return counts (features,) float32, or tokens (T,) with T up to `length`."""
        text = unicodedata.normalize("NFC", str(cell).encode(errors="replace").decode())
        words = WORDS.findall(text.casefold())
        if not words:
            raise Unreadable("it holds no word")
        if self.tokenizer:
            return np.array(_tokenizer(self._folder(), self.length).encode(text).ids, self.dtype)
        hashes = [crc32(word.encode()) for word in words]
        if self.form == "words":
            return (1 + np.remainder(hashes[: self.length], self.vocabulary - 1)).astype(self.dtype)
        counts = np.bincount(np.remainder(hashes, self.features), minlength=self.features)
        return (counts / np.linalg.norm(counts)).astype(self.dtype)

    def weights(self) -> list[Path]:
        """Return the files of the tokenizer."""
        folder = self._folder() if self.tokenizer else None
        if folder is None:
            return []
        if (folder / WHOLE).exists():
            return [folder / WHOLE]
        return [folder / part for part in PARTS if (folder / part).exists()]

    def _folder(self) -> Path:
        return located(self.tokenizer, self.revision)


@cache
def _known(folder: Path) -> tuple[int, int, tuple[int, ...]]:
    """Return how many numbers the tokens of a model's folder take, that of `_`, and those that an empty text has.

    `_` is what QMF puts in the place of a word.
    """
    tokenizer = _tokenizer(folder)
    blank = tokenizer.encode("_", add_special_tokens=False).ids or [0]
    special = tuple(sorted(set(tokenizer.encode("").ids)))
    return 1 + max(tokenizer.get_vocab(with_added_tokens=True).values()), blank[0], special


@cache
def _tokenizer(folder: Path, length: int | None = None) -> Tokenizer:
    """Return the tokenizer of a model's folder, which cuts at `length` and pads nothing.

    Raises UserError if there is none, and where `length` leaves no room beside the special tokens.
    """
    from tokenizers import Tokenizer

    try:
        if (folder / WHOLE).exists():
            found = Tokenizer.from_file(str(folder / WHOLE))
        else:
            from transformers import AutoTokenizer

            made = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            found = made.backend_tokenizer
    except Exception as error:  # whatever a library raises for files that it does not know
        raise UserError(
            f"{folder} gives no tokenizer ({one_line(error)[:200]}); a folder with {WHOLE} is needed"
        ) from error
    special = found.num_special_tokens_to_add(is_pair=False)
    if length is not None and length <= special:
        raise UserError(
            f"reader 'text': length is {length}; more than the {special} special tokens is admissible"
        )
    found.no_padding()
    found.no_truncation() if length is None else found.enable_truncation(length)
    return found
