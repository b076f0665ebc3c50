"""Data files: found below the data root, read whole or memory-mapped, gone through in pieces."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from sweeper.models.errors import UserError, one_line

# how the file begins that Git leaves where Git-LFS did not fetch the real one
POINTER = b"version https://git-lfs"


def find(name: str, root: Path | None, relative: str, what: str) -> Path:
    """Return root/relative (SWEEPER_DATA is the root's default); raise UserError saying what to put where."""
    folder = root or os.environ.get("SWEEPER_DATA")
    if not folder:
        raise UserError(
            f"dataset {name!r} needs {relative} ({what}) in a data folder; name that folder with --data-root"
            " or SWEEPER_DATA"
        )
    path = Path(folder) / relative
    if not path.exists():
        raise UserError(
            f"dataset {name!r}: {path} does not exist; put {what} there, or name another data folder with"
            " --data-root or SWEEPER_DATA"
        )
    return path


def find_one(name: str, root: Path | None, relatives: Sequence[str], what: str) -> Path:
    """Return the first of `relatives` that is below the root, as `find`; the first is told where none is."""
    folder = Path(root or os.environ.get("SWEEPER_DATA") or ".")
    return find(name, root, next((r for r in relatives if (folder / r).exists()), relatives[0]), what)


def inside(path: Path) -> list[Path]:
    """Return the files of a folder by name, hidden ones left out; a file is the only one of itself."""
    try:
        folder = path.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        folder = False
    if not folder:
        return [path]
    return sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))


def flaw(path: Path) -> str:
    """Return why nothing can be read from a file or a folder of files, whatever its kind, in a few words, or "".

    Few bytes are read for it.
    """
    try:
        if path.is_dir():
            return "" if inside(path) else "an empty folder"
        if not path.is_file():
            return "no file of data" if path.exists() else "missing"
        with path.open("rb") as file:
            begin = file.read(len(POINTER))
    except (OSError, ValueError) as error:  # no right to read it, a name that no file can have
        return getattr(error, "strerror", None) or str(error)
    if begin == POINTER:
        return "a Git-LFS pointer, which `git lfs pull` replaces"
    return "" if begin else "empty"


def read(name: str, path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a `.npz`, or those of a folder of `.npy`, memory-mapped; raises as `readable`."""
    with readable(name, path):
        if path.is_dir():
            return {p.stem: np.load(p, mmap_mode="r") for p in sorted(path.glob("*.npy"))}
        with path.open("rb") as file, np.load(file) as arrays:
            return {key: arrays[key] for key in sorted(arrays.files)}


def shapes(name: str, path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return shape and type of each array that `read` would give, from the files' heads alone; raises as it."""
    with readable(name, path):
        if path.is_dir():
            found = {p.stem: np.load(p, mmap_mode="r") for p in sorted(path.glob("*.npy"))}
            return {key: (array.shape, array.dtype) for key, array in found.items()}
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy"): _head(archive, name) for name in sorted(archive.namelist())}


def used(path: Path) -> None:
    """Note at a kept file or folder, by its time, that it was used; who clears a cache goes by that."""
    with suppress(OSError):  # it is another user's, or on a disk that is only read
        os.utime(path)


@contextmanager
def readable(name: str, path: Path) -> Iterator[None]:
    """Turn what NumPy raises for a damaged or foreign file within it into a UserError that names `path`."""
    try:
        yield
    except UserError:
        raise
    except (
        Exception
    ) as error:  # NumPy and zipfile raise a dozen kinds for bytes that are not what they expect
        objects = "Object arrays" in str(error)
        reason = (
            "an array of Python objects; pad it to one shape, or store words as text" if objects else error
        )
        raise UserError(f"dataset {name!r}: {path} cannot be read ({one_line(reason)})") from error


def blocks(array: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (rows, array[rows]) in pieces of about four million numbers: a memory-mapped array stays on disk."""
    step = max(1, 2**22 // max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        yield part, array[part]


def _head(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        reader = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = reader(file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded")
    return shape, dtype
