"""Arrays in .npy files, one file a sample."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sweeper.models.data.readers.base import Cell, Reader, Unreadable
from sweeper.models.errors import UserError, one_line
from sweeper.models.schema.ranges import Count
from sweeper.models.values import AXES, BY_AXES, TIMED, InputSpec


class Array(Reader):
    """A `.npy` file of numbers of one `shape`; where the `kind` has a time axis it may be shorter, and is cut.

    Without `kind` the number of axes says it: (D,) a vector, (T, D) a sequence, (C, H, W) an image, (T, C, H, W) a
    video; audio (T,) has to be said. Raises UserError for a shape that is not of the kind.
    """

    suffixes = (".npy",)

    def __init__(
        self,
        *,
        shape: list[Count],
        kind: Literal["vector", "sequence", "image", "video", "audio"] | None = None,
    ) -> None:
        self.shape, self.kind = tuple(shape), kind or BY_AXES.get(len(shape))
        if self.kind is None or len(AXES[self.kind].strip("(),").split(",")) != len(shape):
            raise UserError(
                f"reader 'array': shape {list(shape)} is not of kind {kind or 'vector, sequence, image or video'},"
                f" a sample {AXES[kind] if kind else 'of one to four axes'}"
            )

    def spec(self) -> InputSpec:
        """Return the kind with the shape."""
        return InputSpec(self.kind, self.shape)

    def read(self, cell: Cell) -> np.ndarray:
        """Return the array, its first axis cut to the longest where it is time, as float32."""
        if len(cell) != 1:
            raise Unreadable(f"it names {len(cell)} files; one is admissible")
        try:
            found = np.load(cell[0], mmap_mode="r")
        except (
            OSError,
            ValueError,
            EOFError,
        ) as error:  # of Python objects, bytes that are no array, half an array
            raise Unreadable(one_line(error)) from error
        timed = self.kind in TIMED
        found = found[: self.shape[0]] if timed and found.ndim else found
        rest = (found.shape[1:], self.shape[1:]) if timed else (found.shape, self.shape)
        if found.ndim != len(self.shape) or rest[0] != rest[1] or not found.size:
            raise Unreadable(f"it has shape {found.shape}, not {self.shape}")
        if found.dtype.kind not in "biuf":
            raise Unreadable(f"it holds {found.dtype}, not numbers")
        if not (np.abs(found.astype(np.float64)) <= np.finfo(np.float32).max).all():
            raise Unreadable("it holds NaN, infinity or a number beyond float32")
        return found.astype(np.float32)
