"""The contract of readers: one cell of a table (a text, numbers, or files) in, one sample of a kind of input out.

A reader's options say all that decides a sample beside the cell, so that samples are kept under a key of the cells'
contents, the options and the versions of the `libraries`. Reading imports its libraries itself: a study is planned
without them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from sweeper.models.errors import UserError, one_line
from sweeper.models.values import InputSpec

Cell = str | tuple[float, ...] | tuple[Path, ...]  # a text, numbers, or one file or several


class Unreadable(UserError):
    """A file or a text that gives no sample; the message says why, and does not name it."""


class Reader(ABC):
    """Base of all readers: `suffixes` are the endings of the files it reads, none where cells hold no files.

    `libraries` names the distributions whose versions decide what is read, `dtype` the type in which samples are kept.
    Options are keyword-only arguments of the constructor, which stay attributes of the same names; threads share a
    reader.
    """

    suffixes: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    dtype: str = "float32"

    @abstractmethod
    def spec(self) -> InputSpec:
        """Return what samples are: kind, shape of the longest, vocabulary; no cell is read for it."""

    @property
    def sample_bytes(self) -> int:
        """How much disk a sample takes, were it as long as the longest may be."""
        return prod(self.spec().shape) * np.dtype(self.dtype).itemsize

    @abstractmethod
    def read(self, cell: Cell) -> np.ndarray:
        """Return the sample, of the kind's axes; where T comes first it may be shorter than the longest.

        The type is the smallest that holds it exactly, such as uint8 for pixels. Raises Unreadable.
        """

    def weights(self) -> list[Path]:
        """Return the files beside the cells whose contents decide samples, such as a vocabulary."""
        return []


@contextmanager
def decoding() -> Iterator[None]:
    """Turn whatever a library raises for damaged or foreign bytes within it into Unreadable."""
    try:
        yield
    except (UserError, ImportError, MemoryError):
        raise
    except Exception as error:  # libraries raise a dozen kinds for bytes that are not what they expect
        reason = getattr(error, "strerror", None) or getattr(error, "error_string", None) or error
        raise Unreadable(one_line(reason) or type(error).__name__) from error
