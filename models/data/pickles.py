"""Pickles of other people's arrays, read without running what else they may say."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.models.data.files import readable
from sweeper.models.errors import UserError

REBUILD, WRAP, SCALAR = (
    *(np.zeros(1).__reduce_ex__(protocol)[0] for protocol in (4, 5)),
    np.float64(0).__reduce__()[0],
)
# what a pickle may call by name: how NumPy packs arrays and numbers, and Python's containers
ADMITTED: dict[str, Any] = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "multiarray._reconstruct": REBUILD,
    "multiarray.scalar": SCALAR,
    "numeric._frombuffer": WRAP,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.bytearray": bytearray,
}


def unpickled(name: str, path: Path) -> Any:  # noqa: ANN401 - what the file holds
    """Return what a pickle holds: arrays, texts, numbers and containers of them; text of Python 2 is latin-1.

    Raises UserError, with nothing run, for a pickle that names anything else, and for a damaged file.
    """
    with readable(name, path), path.open("rb") as file:
        return _Arrays(file, name, path).load()


class _Arrays(pickle.Unpickler):
    """An unpickler that knows `ADMITTED` and nothing else by name."""

    def __init__(self, file: Any, name: str, path: Path) -> None:  # noqa: ANN401 - an open file
        super().__init__(file, encoding="latin1")
        self.where = f"dataset {name!r}: {path}"

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - a class or function
        """Return what is admitted under this name, wherever this or an older NumPy keeps it."""
        if (module, name) == ("_codecs", "encode"):  # bytes as protocols before 3 write them
            return _latin
        for home in ("numpy.core.", "numpy._core."):
            module = module.removeprefix(home)
        if f"{module}.{name}" not in ADMITTED:
            raise UserError(
                f"{self.where} is a pickle that calls {module}.{name}; only arrays, texts, numbers and containers"
                " are read, since a pickle can run any program: get the file anew from its source"
            )
        return ADMITTED[f"{module}.{name}"]


def _latin(text: str, _: str = "latin1") -> bytes:
    return text.encode("latin1")
